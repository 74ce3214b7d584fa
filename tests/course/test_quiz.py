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
