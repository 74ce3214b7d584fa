"""What every panel has: a guess, names for runs, an end."""

from __future__ import annotations

import pytest

from mpkit.lab import CollisionLab, CompareLab, CraftLab, DynamicsLab, UnrollLab, VictimsLab
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import crafted, finished, press, settled

GUESSES = {
    CollisionLab: lambda lab: lab.view.guess,
    UnrollLab: lambda lab: lab.view.guess,
    DynamicsLab: lambda lab: lab.view.guess,
    CraftLab: lambda lab: lab.view.losses.guess,
    CompareLab: lambda lab: lab.view.guess,
}


@pytest.mark.parametrize("kind", GUESSES, ids=lambda kind: kind.__name__)
def test_a_guess_comes_before_the_run_and_stays_on_the_plot(kind, small, until):
    given = {"pairs": 1} if kind is CompareLab else {}
    question = Question("When, or how many of 10?", 0, 10, 4)
    lab = small(kind, question=question, **given) if kind is not UnrollLab else kind(question)
    try:
        assert lab.transport.buttons["run"].disabled
        assert list(GUESSES[kind](lab).get_xdata()) == [-1, -1]
        lab._answered(7)
        where = 0.7 if kind is CompareLab else 7
        finished(lab, until)
        for _ in range(2):
            assert list(GUESSES[kind](lab).get_xdata()) == [where] * 2
            until(lambda: settled(lab))
            assert "The guess was 7." in lab.canvas.widget.value
            lab.transport.buttons["reset"].click()  # lays some pictures out anew
    finally:
        lab.close()


@pytest.mark.parametrize("kind", GUESSES, ids=lambda kind: kind.__name__)
def test_a_skipped_guess_draws_nothing(kind, small, until):
    question = Question("How many?", 0, 10, 4)
    lab = small(kind, question=question) if kind is not UnrollLab else kind(question)
    try:
        lab._answered(None)
        assert not lab.transport.buttons["run"].disabled
        assert list(GUESSES[kind](lab).get_xdata()) == [-1, -1]
        until(lambda: settled(lab))
        assert "guess" not in lab.canvas.widget.value
    finally:
        lab.close()


# ── all of them ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [CollisionLab, CraftLab, DynamicsLab, VictimsLab])
def test_large_letters_and_nothing_started(small, kind):
    lab = small(kind, large=True)
    assert lab.canvas.figure.large
    assert lab.runner.phase is Phase.READY
    assert lab.canvas.frames >= 1
    assert "<img alt=" in lab.canvas.widget.value


# ── what a hostile hand found ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["$x_$", "$$", "_hidden", "<b>" + 500 * "a"])
def test_a_name_that_is_no_formula_stays_a_name(name, until):
    lab = UnrollLab()
    try:
        lab.moves = 2
        finished(lab, until)
        text, keep = lab.panel.children[-1].children[0].children[0].children[:2]
        text.value = name
        frames = lab.canvas.frames
        keep.click()
        until(lambda: lab.canvas.frames > frames)
        shown = [t.get_text() for t in lab.view.history.get_legend().get_texts()]
        assert any(name[:3] in label.replace("\\$", "$") for label in shown)
        assert all(len(label) < 60 for label in shown)
        lab.transport.buttons["reset"].click()
        finished(lab, until)
    finally:
        lab.close()


def test_predict_then_reveal(small, until):
    lab = small(CraftLab, Question("How many?", 0, 8, 4))
    assert lab.transport.buttons["run"].disabled
    assert "guess first" in lab.status.value
    commit = next(
        w for w in lab.panel.children[0].children[1].children
        if getattr(w, "description", "") == "Commit"
    )  # fmt: skip
    commit.click()
    assert lab.guess == 4
    assert len(crafted(lab, until)) == 6


def test_closing_the_panel_stops_its_thread(lab, until):
    lab.controls["craft_steps"].slider.value = 200
    press(lab, "run")
    until(lambda: lab.runner.steps > 0)
    lab.close()
    assert lab.runner.close(30)
    assert lab.runner.phase is Phase.STOPPED


def test_a_lab_that_was_ended_looks_so(lab, until):
    press(lab, "run")
    until(lambda: lab.runner.steps > 0)
    lab.end()
    assert all(button.disabled for button in lab.transport.buttons.values())
    assert "closed" in lab.status.value


def test_in_a_notebook_that_is_only_executed_it_runs_to_its_end(small, monkeypatch):
    monkeypatch.setattr("mpkit.lab.kit.runner.how_to_run", lambda: "sync")
    lab = small(CraftLab)
    lab._ipython_display_()
    assert (lab.runner.phase, len(lab.records)) == (Phase.DONE, 6)
