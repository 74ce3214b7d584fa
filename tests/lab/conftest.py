"""Labs so small that a step takes no time."""

from __future__ import annotations

import math
import time

import ipywidgets as widgets
import pytest

from mpkit import lab as labs
from mpkit.lab import CraftLab, LookaheadLab, UnrollLab
from mpkit.lab.kit.canvas import Canvas
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.notes import notes_in
from mpkit.runs.attack import Attack, make_attack

LABS = tuple(getattr(labs, name) for name in labs.__all__ if name.endswith("Lab"))
"""All labs, also one that is added later."""

SMALL = {
    "data": "digits", "n_train": 60, "n_test": 60, "classes": ("1", "7"), "size": 8, "models": 2,
    "epochs": 3, "craft_steps": 6, "batch": 20, "victims": 2, "victim_epochs": 3,
    "target_index": (0,),
}  # fmt: skip


SHORT = {"pace": 0, "unroll_steps": 1}
"""What a LookaheadLab, which stands on no attack, is as small as it can be with."""


def small_attack(**given) -> Attack:
    """What the small labs run."""
    return make_attack("ci", **SMALL | given)


class Browser:
    """What a browser shows of sliders: it sends back each value that is not on the slider's grid.

    Replies come when everything was sent, as they do where a callback sends several messages.
    `noisy`: one that computes its places in another way, which differs in the last digits.
    """

    def __init__(self, *numbers: Number, noisy: bool = False):
        self.noisy = noisy
        self.sliders = [n.slider for n in numbers]
        self.sent: list[tuple] = [(s, self._seen(s)) for s in self.sliders]  # drawn for the first
        self.seen: dict = {}
        for slider in self.sliders:
            slider.send_state = lambda key=None, s=slider: self.sent.append((s, self._seen(s, key)))

    @staticmethod
    def _seen(slider, keys=None) -> dict:
        keys = {keys} if isinstance(keys, str) else keys
        return {k: getattr(slider, k) for k in ("min", "max", "value") if keys is None or k in keys}

    def answer(self) -> None:
        """Draw what was sent, and send back what was rounded, until both sides are content."""
        for _ in range(10):
            sent, self.sent[:] = list(self.sent), []
            replies = [(s, r) for s, state in sent for r in self._drawn(s, state)]
            if not replies:
                return
            for slider, reply in replies:
                slider.set_state({"value": reply})
        raise AssertionError("slider and browser answer each other for ever")

    def _drawn(self, slider, state: dict) -> list[float]:
        now = self.seen.setdefault(slider, {})
        now |= state
        low, high, value, step = now["min"], now["max"], now["value"], slider.step
        if value >= high or value <= low:
            there = high if value >= high else low
        elif self.noisy:
            there = min(low + math.floor((value - low) / step + 0.5) * step, high)
        else:  # as noUiSlider does it, in per cent of the range
            width = high - low
            each, share = 100 * step / width, 100 * (value - low) / width
            share = math.floor(share / each + 0.5) * each
            there = high if share >= 100 else share * width / 100 + low
        there = round(there) if isinstance(slider, widgets.IntSlider) else there
        now["value"] = there
        return [there] if there != value else []


def said(lab) -> str:
    """What stands in the panel's own line and in its notes."""
    return " ".join([lab.message.value, *(note.line.value for note in notes_in(lab.panel))])


def press(lab, name: str) -> None:
    button, began = lab.transport.buttons[name], time.monotonic()
    while button.disabled and time.monotonic() < began + 5:  # it follows the phase a moment later
        time.sleep(0.01)
    assert not button.disabled, f"{name} cannot be pressed while {lab.runner.phase.value}"
    button.click()


def settled(lab) -> bool:
    """Whether the picture shows all that was turned."""
    with lab.canvas.lock:  # none is drawn at this moment
        return not lab.canvas._asked


def finished(lab, until, limit: float = 120) -> None:
    """Runs a lab to its end."""
    press(lab, "run")
    until(lambda: lab.runner.phase.ended, limit)
    until(lambda: f"<b>{lab.runner.phase.value}</b>" in lab.status.value)  # which is told after it
    assert lab.runner.error is None, lab.runner.error


def crafted(lab, until) -> list[float]:
    """Runs a lab to its end: the losses that it recorded."""
    finished(lab, until)
    return [r.loss for r in lab.records]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Makes small labs of a class, and closes them."""
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    labs = []

    def make(kind, *arguments, **given):
        if kind is LookaheadLab:
            own = {k: v for k, v in given.items() if k in ("question", "large")} | SHORT
        lab = kind(*arguments, **(own if kind is LookaheadLab else SMALL | given))
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()
        lab.runner.close(30)


@pytest.fixture
def unpainted(monkeypatch):
    """For tests that look at words, numbers and lines: all of a frame but its pixels, which take a
    tenth of a second each time. What is painted is looked at in test_pictures, test_time and
    test_actions, for every lab."""
    monkeypatch.setattr(Canvas, "_encoded", lambda canvas, *_, **__: canvas.fresh() or b"")


SIGNS = {
    "data": "signs", "n_train": 60, "n_test": 30, "classes": None, "epochs": 2, "craft_steps": 2,
    "network": None, "epsilon": 8 / 255, "victim_epochs": 2,
}  # fmt: skip


def numbers(lab) -> list[Number]:
    found = [*lab.controls.values(), *([lab.page] if isinstance(lab, CraftLab) else [])]
    return [c for c in found if isinstance(c, Number)]


@pytest.fixture
def unroll():
    """Makes labs with points in the plane, and closes them."""
    labs = []

    def make(**given) -> UnrollLab:
        labs.append(UnrollLab(**given))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def lab(small):
    """The lab that most of what labs share is tried on."""
    return small(CraftLab)


@pytest.fixture
def heard():
    """What a control has told, in order."""
    return []
