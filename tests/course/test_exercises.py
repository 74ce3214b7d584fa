"""Every exercise: its solution passes, usual wrong answers are recognised, nothing raises."""

from __future__ import annotations

import importlib
import math
import re
from functools import partial
from pathlib import Path

import pytest

from mpkit.course import check, hint, solution
from mpkit.course.exercises import EXERCISES

CHAPTERS = sorted(p.name[8:10] for p in Path(__file__).parent.glob("answers_*.py"))

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
    verdict = check(name, answer() if isinstance(answer, partial) else answer)
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
