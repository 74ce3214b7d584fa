"""Every exercise: its solution passes, usual wrong answers are recognised, nothing raises."""

from __future__ import annotations

import importlib
import json
import math
import re
from pathlib import Path

import pytest

from mpkit.course import begin, check, hint, progress, solution
from mpkit.course.exercises import EXERCISES
from mpkit.course.quiz import Item, Quiz

CHAPTERS = sorted(p.name[8:10] for p in Path(__file__).parent.glob("answers_*.py"))
QUIZZES = [importlib.import_module(f"mpkit.course.ch{n}").QUIZ for n in CHAPTERS]
WRONG = [
    row for n in CHAPTERS for row in importlib.import_module(f".answers_{n}", __package__).WRONG
]
"""Usual wrong answers: (exercise, answer, words of what is said to it)."""

ODD = [
    "x",
    "",
    math.nan,
    math.inf,
    -1,
    10**30,
    (),
    (1, 2, 3),
    {},
    object(),
    True,
    b"7",
    [None],
    print,
]


@pytest.fixture(autouse=True)
def kept(monkeypatch, tmp_path):
    """Progress in a file of the test's own."""
    monkeypatch.setenv("MPKIT_PROGRESS", str(tmp_path / "deep" / "progress.json"))
    return tmp_path / "deep" / "progress.json"


def solved(name: str):
    """What the solution's text comes to."""
    text, names = EXERCISES[name].solution, {}
    lines = text.split("\n")
    if lines[-1].lstrip().startswith(("return", "def")) or "=" in lines[-1].split("#")[0]:
        exec(text, names)
        return next(v for k, v in reversed(names.items()) if k != "__builtins__")
    exec("\n".join(lines[:-1]), names)
    return eval(lines[-1], names)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right(name):
    verdict = check(name, solved(name))
    assert verdict.right is True, str(verdict)


@pytest.mark.parametrize("name", EXERCISES)
def test_odd_answers_do_not_raise_and_are_not_right(name):
    for answer in ODD:
        assert check(name, answer).right is not True, answer
    assert check(name, None).right is None


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_and_solution_are_there(name):
    assert len(EXERCISES[name].hints) == 2
    assert hint(name, 2).text == EXERCISES[name].hints[1]
    assert "<details>" in solution(name)._repr_html_()
    with pytest.raises(ValueError, match="hints 1 to 2, not 3"):
        hint(name, 3)


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    WRONG,
    ids=lambda v: v if isinstance(v, str) and re.fullmatch(r"\d\d\.\w+", v) else "",
)
def test_usual_wrong_answers_are_recognised(name, answer, words):
    verdict = check(name, answer)
    assert verdict.right is False
    assert any(w in verdict.words for w in words.split("|")), verdict.words


@pytest.mark.parametrize("name", EXERCISES)
def test_every_exercise_knows_wrong_answers(name):
    assert sum(row[0] == name for row in WRONG) >= (1 if name in ("03.trap", "06.claim") else 2)


def test_a_stub_is_open():
    assert check("03.difference", lambda f, x, d, h: None).right is None


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '00.magic'; there are: 00.clip"):
        check("00.magic", 1)


def test_progress_is_kept_and_survives_damage(kept):
    assert check("00.clip", 255).right
    assert set(json.loads(kept.read_text())) == {"00.clip"}
    assert progress.report("00", ["00.clip", "00.margin"]).endswith(
        "1 of 2 solved; open: 00.margin"
    )
    kept.write_text("{")
    assert progress.solved() == {}
    assert check("00.margin", 1.5).right
    assert set(json.loads(kept.read_text())) == {"00.margin"}


def test_progress_can_be_off(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_PROGRESS", "off")
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    assert check("00.clip", 255).right
    assert not list(tmp_path.glob("**/*.json"))


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


def test_a_student_who_comes_back_sees_what_is_solved(kept, capsys):
    begin("00", seed=3, ci="1 s", laptop="2 s", gpu="3 s")
    said = capsys.readouterr().out
    assert "seed: 3" in said
    assert "Chapter 00: 0 of 4 solved; open: 00.clip, 00.margin, 00.interval, 00.quiz" in said
    check("00.clip", 255)
    begin("00")
    assert "1 of 4 solved; open: 00.margin" in capsys.readouterr().out
