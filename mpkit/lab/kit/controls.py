"""Buttons, sliders and pickers with visible labels, that refuse bad values in words.

ipywidgets' sliders have no accessible name, so each has its label and a number box beside it. And
in the browser a slider sends back what it is shown, rounded to its step, as if it had been moved.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ipywidgets as widgets
from torch import Tensor

from mpkit.lab.kit.gallery import Pictures
from mpkit.lab.kit.notes import Say, Trying
from mpkit.lab.kit.runner import Phase, Runner

COARSE = 2
"""How many times as wide a slider may get for a value that lies outside its range."""


class Transport:
    """▶ ⏸ ⏭ ⏹ ↺ for a runner, always in this order; each enabled only where it does something.

    The signs are icons that come with ipywidgets: not every machine has letters for them.
    """

    BUTTONS = (
        ("run", "Run", "play", "go on to the end"),
        ("pause", "Pause", "pause", "rest after the step under way"),
        ("step", "Step", "step-forward", "one step, then pause"),
        ("stop", "Stop", "stop", "end here; what was recorded stays"),
        ("reset", "Reset", "undo", "back to the start"),
    )

    def __init__(self, runner: Runner, before: Callable[[str], bool] = lambda action: True):
        """`before(action)` is asked first, and may refuse by returning False."""
        self.runner, self.buttons = runner, {}
        for action, label, icon, tip in self.BUTTONS:
            button = widgets.Button(
                description=label, icon=icon, tooltip=tip, layout=widgets.Layout(width="96px")
            )
            button.on_click(lambda _, a=action: before(a) and getattr(runner, a)())
            self.buttons[action] = button
        self.widget = widgets.HBox(list(self.buttons.values()))
        self.refresh()

    def refresh(self, allowed: bool = True) -> None:
        """Enable what makes sense now; `allowed=False` holds a run back (a guess is wanted)."""
        phase = self.runner.phase
        busy = phase in (Phase.RUNNING, Phase.PAUSING, Phase.STOPPING)
        may = {
            "run": allowed and phase in (Phase.READY, Phase.PAUSED),
            "pause": phase is Phase.RUNNING,
            "step": allowed and phase in (Phase.READY, Phase.PAUSED),
            "stop": phase in (Phase.RUNNING, Phase.PAUSING, Phase.PAUSED),
            "reset": phase is not Phase.READY,
        }
        for action, button in self.buttons.items():
            button.disabled = not may[action]
            button.button_style = "success" if action == "run" and may["run"] else ""
        self.buttons["pause"].button_style = "warning" if busy and may["pause"] else ""


class Number(Trying):
    """A labelled slider with a number box. `turn(value)` is told of every new value, and may return
    a float that is in force instead.

    The box shows the value in force, in the unit named in the label, and the slider stands at the
    nearest place it has: only a move to another one is a move. What `turn` refuses (ValueError), or
    the range does not hold, is explained through `say`, and both go back. A value in force outside
    the range widens it, for the box; and for the slider if that then is not too coarse. `near`:
    what is said when it is turned stands under it, and not in the panel's line.
    """

    def __init__(
        self,
        label: str,
        value: float,
        low: float,
        high: float,
        turn: Callable[[float], object],
        say: Say,
        *,
        step: float = 1,
        tip: str = "",
        near: bool = False,
    ):
        super().__init__(say, near)
        self.whole = all(isinstance(v, int) for v in (value, low, high, step))
        self.label, self.turn = label, turn
        self._range(low, high)
        self.value, self.step = value, step
        self.digits = 0 if self.whole else max(0, 1 - math.floor(math.log10(step)))
        slider = widgets.IntSlider if self.whole else widgets.FloatSlider
        looks = {"readout": False, "layout": widgets.Layout(width="150px")}
        self.slider = slider(self._place(value), min=low, max=high, step=step, **looks)
        # An IntText drops a point while it is typed, and takes 2.7 for 27.
        self.box = widgets.FloatText(value, step=step, layout=widgets.Layout(width="76px"))
        self.name = widgets.Label(label, layout=widgets.Layout(width="132px"))
        self.slider.tooltip = self.box.tooltip = tip or label  # a box without one is named "null"
        self.widget = self.under(widgets.HBox([self.name, self.slider, self.box]))
        self._own = False
        self._unanswered = deque([self.slider.value], maxlen=50)  # places that it was put at
        for part in (self.slider, self.box):
            part.observe(self._moved, "value")
        self.show(value)  # a value outside the range widens it

    def _range(self, low: float, high: float) -> None:
        """The slider's ends, and those of the box: what a value in force needs may be beyond."""
        self.low, self.high = self.least, self.most = low, high
        self.widest = COARSE * (high - low)

    def _widen(self, value: float) -> None:
        ends = (math.floor, math.ceil) if self.whole else (float, float)
        self.least, self.most = min(self.least, ends[0](value)), max(self.most, ends[1](value))
        if self.most - self.least <= self.widest:
            self.low, self.high = self.slider.min, self.slider.max = self.least, self.most

    def _place(self, value: float) -> float:
        """Where the slider stands for a value.

        Computed as noUiSlider does it in the browser, in per cent of the range: whatever differs
        from that, be it in the last digit, would be sent back.
        """
        if value >= self.high:
            return self.high  # also where the steps do not end there
        if value <= self.low:
            return self.low
        width = self.high - self.low
        each = 100 * self.step / width
        percent = math.floor(100 * (value - self.low) / width / each + 0.5) * each
        place = self.high if percent >= 100 else percent * width / 100 + self.low
        return round(place) if self.whole else place

    def _echoed(self, sent: float) -> bool:
        """Whether the slider is where it was put: then nobody has moved it.

        A browser that computes places otherwise may still answer those of before; each is heard
        once, and only told which one is in force, or both would answer each other without end.
        """
        near = lambda place: abs(self._place(sent) - place) < 1e-6 * self.step  # noqa: E731
        put, now = list(self._unanswered), near(self._place(self.value))
        answered = [i for i, place in enumerate(put) if near(place) and sent != place]
        if answered:  # and so were those before it, or they needed no answer
            self._unanswered = deque(put[answered[0] + 1 :], self._unanswered.maxlen)
            if not now:
                self.show(self.value)
        return now or bool(answered)

    def _moved(self, change: dict) -> None:
        if self._own or (change["owner"] is self.slider and self._echoed(change["new"])):
            return
        new = round(change["new"], self.digits) if self.digits else change["new"]
        if self.whole and float(new).is_integer():
            new = int(new)
        with self.trying():
            if self.whole and not isinstance(new, int):
                raise ValueError(f"{self.label} must be a whole number, not {new}.")
            if not self.least <= new <= self.most:
                ends = f"between {self.least} and {self.most}"
                raise ValueError(f"{self.label} must lie {ends}, not {new}.")
            if new != self.value:
                held = self.turn(new)
                self.value = held if isinstance(held, float) else new
        self.show(self.value)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Nobody is told, and the browser gets all that is set meanwhile as one change."""
        before, self._own = self._own, True
        try:
            with self.slider.hold_sync(), self.slider.hold_trait_notifications():
                yield
        finally:
            self._own = before

    def show(self, value: float) -> None:
        """Set both parts without telling anybody."""
        with self._quietly():
            if not self.least <= value <= self.most and math.isfinite(value):
                self._widen(value)
            self.value = self.box.value = value
            if (place := self._place(value)) != self.slider.value:
                self._unanswered.append(place)
            self.slider.value = place

    def limit(self, low: float, high: float, value: float | None = None) -> None:
        """Another range, and maybe value; without one, a value that is now outside moves to the
        end. Nobody is told."""
        # A slider that saw the range first would send back the end of it, after the value is set.
        with self._quietly():
            self._range(low, high)
            self.slider.min, self.slider.max = low, high
            self.show(min(max(self.value, low), high) if value is None else value)

    def enable(self, on: bool) -> None:
        """Whether it can be turned."""
        self.slider.disabled = self.box.disabled = not on


class Choice(Trying):
    """A labelled drop-down; `turn(value)` and `near` as in `Number`."""

    def __init__(
        self, label: str, options: Sequence, value, turn: Callable, say: Say, *, near: bool = False
    ):
        super().__init__(say, near)
        self.turn, self.value, self._own = turn, value, False
        self.name = widgets.Label(label, layout=widgets.Layout(width="132px"))
        self.menu = widgets.Dropdown(
            options=list(options), value=value, layout=widgets.Layout(width="180px")
        )
        self.widget = self.under(widgets.HBox([self.name, self.menu]))
        self.menu.observe(self._moved, "value")

    def _moved(self, change: dict) -> None:
        if self._own:
            return
        with self.trying():
            self.turn(change["new"])
            self.value = change["new"]
        self.show(self.value)

    def show(self, value) -> None:
        """Set it without telling anybody."""
        self.value, self._own = value, True
        try:
            self.menu.value = value
        finally:
            self._own = False

    def enable(self, on: bool) -> None:
        """Whether another can be chosen."""
        self.menu.disabled = not on


class Thumbnails(Trying):
    """One of several pictures, picked by pressing it. `turn(index)` as in `Number`; what is said
    then stands under them."""

    def __init__(
        self,
        label: str,
        pictures: Tensor,
        names: Sequence[str],
        value: int,
        turn: Callable,
        say: Say,
    ):
        """pictures (N, C, H, W) in [0, 1], one name each; `value` is the index picked."""
        super().__init__(say, near=True)
        self.label, self.turn = label, turn
        self.row = Pictures(label, self._picked)
        name = widgets.Label(label, layout=widgets.Layout(width="132px"))
        self.widget = self.under(widgets.HBox([name, self.row]))
        self.put(pictures, names, value)

    def put(
        self,
        pictures: Tensor,
        names: Sequence[str],
        value: int,
        tips: Sequence[str] | None = None,
    ) -> None:
        """Other pictures; `tips` are what is said of each, beside its name."""
        self.names, self.value = list(names), value
        tips = [f"{self.label}: {name}" for name in names] if tips is None else tips
        self.row.show(pictures, names, tips, value)

    def show(self, value: int) -> None:
        """Mark one as picked without telling anybody."""
        self.value = self.row.picked = value

    def enable(self, on: bool) -> None:
        """Whether one can be picked."""
        self.row.enabled = on

    def _picked(self, index: int) -> None:
        with self.trying():
            self.turn(index)
            self.value = index
        self.row.picked = self.value
