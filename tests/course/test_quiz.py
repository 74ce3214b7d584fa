"""Three questions at the end of a chapter."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mpkit.course import progress
from mpkit.course.quiz import Item, Quiz

CHAPTERS = sorted(p.name[8:10] for p in Path(__file__).parent.glob("answers_*.py"))

QUIZZES = [importlib.import_module(f"mpkit.course.ch{n}").QUIZ for n in CHAPTERS]


@pytest.mark.parametrize("quiz", QUIZZES, ids=lambda q: q.name)
def test_quizzes_say_why(quiz, kept):
    fresh = Quiz(quiz.name, quiz.items)
    assert len(fresh.items) == 3
    for i, item in enumerate(fresh.items):
        for k in range(len(item.answers)):
            fresh.choices[i].value = k
            assert ("✓" in fresh.words[i].value) == (k == item.right)
    for i, item in enumerate(fresh.items):
        fresh.choices[i].value = item.right
    assert f"{quiz.name}.quiz" in progress.solved()


def test_a_quiz_needs_a_reason_for_each_answer():
    with pytest.raises(ValueError, match="one reason"):
        Quiz("x", [Item("?", ["a", "b"], 0, ["because"])])


ITEMS = [
    Item("Which?", ["this", "that"], 1, ["no", "yes"]),
    Item("And why?", ["so", "thus"], 0, ["yes", "no"]),
]


@pytest.fixture
def displayed(monkeypatch):
    """``displayed(quiz)`` shows it, as the last line of a cell does."""
    monkeypatch.setattr("IPython.display.display", lambda *a: None)
    return lambda quiz: quiz._ipython_display_()


def test_a_quiz_remembers_what_was_chosen(kept, displayed):
    quiz = Quiz("09", ITEMS)
    displayed(quiz)
    assert [c.value for c in quiz.choices] == [None, None]
    quiz.choices[0].value = 0
    quiz.choices[0].value = 1
    again = Quiz("09", ITEMS)
    displayed(again)
    assert [c.value for c in again.choices] == [1, None]
    assert "✓ yes" in again.words[0].value
    assert again.words[1].value == ""
    again.choices[1].value = 0
    assert "09.quiz" in progress.solved()


def test_choices_are_kept_by_their_words(kept, displayed):
    Quiz("09", ITEMS).choices[0].value = 1
    turned = [ITEMS[1], Item("Which?", ["that", "this", "both"], 0, ["yes", "no", "no"])]
    quiz = Quiz("09", turned)
    displayed(quiz)
    assert [c.value for c in quiz.choices] == [None, 0]
    other = Quiz("09", [Item("Which?", ["neither", "both"], 0, ["", ""])])
    displayed(other)
    assert other.choices[0].value is None
    elsewhere = Quiz("08", ITEMS)
    displayed(elsewhere)
    assert elsewhere.choices[0].value is None


def test_what_is_shown_again_is_not_written_again(kept, displayed):
    Quiz("09", ITEMS).choices[0].value = 1
    written = kept.stat().st_mtime_ns
    quiz = Quiz("09", ITEMS)
    displayed(quiz)
    assert kept.stat().st_mtime_ns == written
    quiz.choices[0].value = 0
    displayed(quiz)  # shown twice: what was chosen since stays
    assert quiz.choices[0].value == 0


def test_a_damaged_choice_is_none(kept, displayed):
    kept.parent.mkdir()
    kept.write_text('{"09.chosen": {"Which?": ["that"], "And why?": 3}}')
    quiz = Quiz("09", ITEMS)
    displayed(quiz)
    assert [c.value for c in quiz.choices] == [None, None]
