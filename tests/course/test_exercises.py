"""Every exercise: its solution passes, usual wrong answers are recognised, nothing raises."""

from __future__ import annotations

import json
import math

import pytest

from mpkit.course import ch00, ch03, check, hint, progress, solution
from mpkit.course.exercises import EXERCISES
from mpkit.course.quiz import Item, Quiz

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
    [
        ("00.clip", 266, "no 8-bit picture"),
        ("00.clip", 26, "how far"),
        ("00.margin", -1.5, "the sign"),
        ("00.margin", 0.5, "not the best"),
        ("00.margin", 1.0, "does not want"),
        ("00.interval", 1, "what was seen|was seen"),
        ("00.interval", 67.6, "per cent"),
        ("03.difference", lambda f, x, d, h: (f(x + h * d) - f(x)) / h, "one-sided"),
        ("03.difference", lambda f, x, d, h: (f(x + h * d) - f(x - h * d)) / h, "2h apart"),
        ("03.difference", lambda f, x, d, h: (f(x - h * d) - f(x + h * d)) / (2 * h), "the sign"),
        ("03.difference", lambda f, x, d, h: f(x + h * d) - f(x - h * d), "divided by way"),
        ("03.difference", lambda f, x, d, h: 1 / 0, "raised ZeroDivisionError"),
        ("03.memory", (16, 1), "linear"),
        ("03.memory", (4, 4), "graph of one step"),
        ("03.memory", (1, 1), "every step"),
        ("03.coupled", {"convnet-bn"}, "one is missing"),
        ("03.coupled", {"mlp", "convnet", "convnet-bn", "resnet20"}, "does not mix"),
        ("03.coupled", {"mlp"}, "its own way"),
        ("03.coupled", {"vgg"}, "the names are"),
        ("03.trap", "rounding", "Look again"),
    ],
)
def test_usual_wrong_answers_are_recognised(name, answer, words):
    verdict = check(name, answer)
    assert verdict.right is False
    assert any(w in verdict.words for w in words.split("|")), verdict.words


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


@pytest.mark.parametrize("quiz", [ch00.QUIZ, ch03.QUIZ], ids=lambda q: q.name)
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
