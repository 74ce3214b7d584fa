"""A run never waits for its picture, and the picture never stays behind a run that rests."""

from __future__ import annotations

import html
import random
import threading
import time

import pytest

from mpkit.contest import contest
from mpkit.lab import ContestBoard, CraftLab, LookaheadLab, UnrollLab
from mpkit.lab.kit.film import Filming
from mpkit.lab.kit.runner import Phase
from tests.contest.conftest import at_once
from tests.lab.actions import Driver, new
from tests.lab.conftest import LABS, finished, press

FILMED = [kind for kind in LABS if kind.frame is not Filming.frame]
WAIT = 60


class Gate:
    """Stands in the way of every frame of a canvas while it is shut."""

    def __init__(self, canvas):
        self.open, self.reached, self.render = threading.Event(), threading.Event(), canvas._render
        self.open.set()
        canvas._render = self

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(WAIT), "the gate was left shut"
        self.render()

    def shut(self) -> None:
        self.reached.clear()
        self.open.clear()


@pytest.fixture
def gate():
    gates = []

    def make(lab) -> Gate:
        gates.append(Gate(lab.canvas))
        return gates[-1]

    yield make
    for each in gates:
        each.open.set()


def drawing() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "mpkit picture"]


def alt(lab) -> str:
    """The words of the picture that the browser has."""
    return html.unescape(lab.canvas.widget.value.split('alt="')[1].split('" class=')[0])


# ── the run does not wait ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", FILMED, ids=lambda kind: kind.__name__)
def test_a_run_goes_on_while_its_picture_is_drawn(kind, gate, until, monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path))
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    lab = new(kind)
    try:
        shut = gate(lab)
        shut.shut()
        press(lab, "run")
        assert shut.reached.wait(WAIT)
        drawn, frames = lab.runner.steps, lab.canvas.frames
        until(lambda: lab.runner.steps >= max(3, drawn), WAIT)
        assert lab.canvas.frames == frames
        shut.open.set()
        until(lambda: lab.runner.phase.ended, WAIT)
        assert lab.runner.error is None, lab.runner.error
        assert lab.seen is lab.film.frames[lab.runner.steps]
        assert alt(lab) == lab.describe()
    finally:
        lab.close()


def test_all_steps_are_done_during_one_frame_and_the_next_is_of_the_last(lab, gate, until):
    shut = gate(lab)
    shut.shut()
    press(lab, "run")
    assert shut.reached.wait(WAIT)
    until(lambda: lab.runner.steps == 6)
    until(lambda: len(lab.film.frames) == 6)
    assert len(lab.records) == len(lab.story().steps) == 6  # who asks need not wait either
    frames = lab.canvas.frames
    shut.open.set()
    until(lambda: lab.runner.phase is Phase.DONE)
    assert lab.canvas.frames == frames + 2  # the one under way, and the last
    assert "After craft step 6 " in alt(lab)
    assert len(lab.view.losses.mean.get_xdata()) == 6
    until(lambda: not drawing())


def test_a_victim_does_not_wait_for_its_picture(lab, gate, until):
    finished(lab, until)
    shut = gate(lab.victim)
    shut.shut()
    lab.victim.start()
    assert shut.reached.wait(WAIT)
    until(lambda: lab.victim.runner.steps == 3)
    shut.open.set()
    until(lambda: lab.victim.runner.phase.ended)
    assert "after epoch 3 " in alt(lab.victim)


# ── nor does a hand ───────────────────────────────────────────────────────────────────────────


def test_what_is_turned_quickly_is_drawn_once_with_all_of_it(lab, gate, until):
    shut, frames = gate(lab), lab.canvas.frames
    shut.shut()
    for n in range(10, 30):  # nothing is drawn meanwhile, and nobody waits
        lab.controls["epsilon"].box.value = n
    assert lab.canvas.frames == frames
    shut.open.set()
    until(lambda: "ε = 29/255" in alt(lab))
    assert lab.canvas.frames <= frames + 2  # the one under way, and the last
    until(lambda: not drawing())
    assert "ε = 29/255" in alt(lab)


def test_where_nothing_runs_beside_it_is_drawn_at_once(small, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    lab = small(CraftLab)
    lab.controls["epsilon"].box.value = 20
    assert "ε = 20/255" in alt(lab)
    assert not drawing()


@pytest.mark.parametrize("of", ["the lab", "its victim"])
def test_a_picture_that_fails_while_nothing_runs_is_told_of(of, lab, until):
    def broken() -> None:
        raise RuntimeError("out of <ink>")

    victim = of == "its victim"
    canvas = lab.victim.canvas if victim else lab.canvas
    line = lab.victim.note.line if victim else lab.message
    canvas._render, turn = broken, lab.victim.clear if victim else lambda: lab.turn(epsilon=0.1)
    turn()
    until(lambda: "The picture failed: RuntimeError: out of &lt;ink&gt;" in line.value)
    del canvas._render
    frames = canvas.frames
    turn()
    until(lambda: canvas.frames > frames)


def test_a_victims_picture_is_not_laid_out_anew_while_it_is_drawn(lab, gate, until):
    shut, axes = gate(lab.victim), lab.victim.axes
    shut.shut()
    lab.victim.clear()
    assert shut.reached.wait(WAIT)
    lines, hand = list(axes.lines), threading.Thread(target=lab.victim.clear)
    hand.start()
    hand.join(0.5)
    assert hand.is_alive()
    assert list(axes.lines) == lines
    shut.open.set()
    hand.join(WAIT)
    assert list(axes.lines) != lines
    until(lambda: not drawing())


# ── the picture is of the last step ───────────────────────────────────────────────────────────


def test_what_rests_is_up_to_date_as_soon_as_it_rests(lab, gate, until):
    shut = gate(lab)
    for step in range(1, 4):
        shut.shut()
        press(lab, "step")
        until(lambda step=step: lab.runner.steps == step and lab.runner.phase is Phase.PAUSED)
        assert lab.seen.count == len(lab.view.losses.mean.get_xdata()) == step
        shut.open.set()
        until(lambda step=step: f"After craft step {step} " in alt(lab))
        until(lambda: not lab.transport.buttons["step"].disabled)


def test_a_reset_during_a_frame_shows_the_beginning_from_then_on(lab, gate, until):
    shut = gate(lab)
    for _ in range(3):
        shut.shut()
        press(lab, "run")
        assert shut.reached.wait(WAIT)
        hand = threading.Thread(target=press, args=(lab, "reset"))
        hand.start()
        until(lambda: lab.runner.phase is Phase.READY)
        shut.open.set()
        hand.join(WAIT)
        assert not hand.is_alive()
        until(lambda: "Nothing has run yet" in alt(lab))
        for _ in range(2):
            assert "Nothing has run yet" in alt(lab)
            assert not len(lab.view.losses.mean.get_xdata())
            until(lambda: not drawing())
    assert lab.runner.error is None


def test_one_can_look_back_while_the_run_is_ahead_of_its_picture(lab, gate, until):
    shut = gate(lab)
    shut.shut()
    press(lab, "run")
    assert shut.reached.wait(WAIT)
    until(lambda: len(lab.film.frames) == 6)
    hand = threading.Thread(target=lab.scrub, args=(2,))
    hand.start()
    shut.open.set()
    hand.join(WAIT)
    until(lambda: lab.runner.phase is Phase.DONE)
    assert "After craft step 2 " in alt(lab)
    assert len(lab.view.losses.mean.get_xdata()) == 2
    assert list(lab.view.losses.head.later.get_xdata()) == [2, 3, 4, 5, 6]
    assert (lab.bar.at, lab.bar.last, lab.bar.live) == (2, 6, False)


@pytest.mark.parametrize("kind", [CraftLab, UnrollLab, ContestBoard], ids=lambda k: k.__name__)
def test_a_slow_picture_bears_what_is_done_meanwhile(kind, until, monkeypatch, tmp_path):
    """A hand led by a seed: whatever comes, each frame is of one moment, and the last is of now."""
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    monkeypatch.setattr(contest, "answers", at_once)
    driver, wrong = Driver(kind, 3, tmp_path), []
    lab, render = driver.lab, driver.lab.canvas._render

    def slowly() -> None:
        time.sleep(0.03)
        render()

    def look() -> None:
        if kind is CraftLab and not wrong:
            count = lab.seen.count if lab.seen else 0
            shown = len(lab.view.losses.mean.get_xdata())
            words = f"After craft step {count} " if count else "Nothing has run yet"
            if shown != count or words not in alt(lab):
                wrong.append((count, shown, alt(lab)))

    lab.canvas._render, lab.canvas.drawn, chance = slowly, look, random.Random(5)
    try:
        for _ in range(40):
            buttons = [b for b in lab.transport.buttons.values() if not b.disabled]
            if chance.random() < 0.6 and buttons:
                chance.choice(buttons).click()
            elif lab.filmed and chance.random() < 0.5:
                lab.bar._handle_custom_msg({"step": chance.randrange(8)}, [])
            else:
                driver.act()
            assert not wrong
        driver.rest()
        until(lambda: alt(lab) == lab.describe())
        ended = (Phase.DONE, Phase.FAILED) if kind is ContestBoard else (Phase.DONE,)
        assert driver.run()[0] in ended, lab.runner.error  # a contest may still be in use
        until(lambda: alt(lab) == lab.describe())
        assert not wrong
        until(lambda: not drawing())
    finally:
        lab.close()


# ── what goes wrong, and the end ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", [True, False], ids=("the first", "the last"))
@pytest.mark.parametrize("part", ["shown", "drawn"])
def test_a_picture_that_fails_is_told_of(part, first, lab, until):
    def broken(frame=None) -> None:
        if first or lab.runner.steps == lab.total():
            raise RuntimeError("out of <ink>")
        (show if part == "shown" else render)(*[frame] * (part == "shown"))

    show, render = lab.show_frame, lab.canvas._render
    owner, name = (lab, "show_frame") if part == "shown" else (lab.canvas, "_render")
    setattr(owner, name, broken)
    press(lab, "run")
    until(lambda: lab.runner.phase is Phase.FAILED)
    until(lambda: "failed: RuntimeError: out of &lt;ink&gt;" in lab.message.value)
    delattr(owner, name)
    until(lambda: not drawing())
    press(lab, "reset")
    finished(lab, until)
    assert "After craft step 6 " in alt(lab)


def test_closing_ends_the_drawing_and_no_thread_stays(lab, gate, until):
    shut = gate(lab)
    shut.shut()
    press(lab, "run")
    assert shut.reached.wait(WAIT)
    lab.close(timeout=0)
    shut.open.set()
    until(lambda: not drawing())


def test_nothing_is_drawn_while_times_are_measured(until, monkeypatch):
    lab, free = LookaheadLab(pace=0, unroll_steps=1), []

    def cost(work) -> tuple[float, float]:
        def ask() -> None:
            free.append(lab.canvas.lock.acquire(blocking=False))

        other = threading.Thread(target=ask)
        other.start()
        other.join()
        return 1.0, 2.0

    monkeypatch.setattr("mpkit.lab.lookahead_film.cost", cost)
    try:
        finished(lab, until)
        assert free == [False] * 4
    finally:
        lab.close()
