"""Points of a figure that can be taken by hand: dragged, or moved with the arrow keys."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets
from matplotlib.axes import Axes

HINT = "Arrow keys move it, with Shift five times as far."
Box = tuple[float, float, float, float]
"""Left, bottom, right and top, in the numbers of the axes."""


class Handles(anywidget.AnyWidget):
    """Handles over the points of some axes, each within a box that holds it.

    ``moved(which, place)`` is told where the hand has put one, held within its box, (x, y) in the
    numbers of the axes; `place` is None where one was only taken. What the hand sees follows at
    once, in the browser, and stays where it was put until `show` says otherwise. ``held``: which
    one is in the hand at this moment, or None; nothing else may move that one.
    """

    _esm = Path(__file__).with_suffix(".js").read_text("utf-8")
    _css = Path(__file__).with_suffix(".css").read_text("utf-8")
    frame = traitlets.List([0.0, 0.0, 1.0, 1.0]).tag(sync=True)
    limits = traitlets.List([0.0, 1.0, 0.0, 1.0]).tag(sync=True)
    names = traitlets.List([]).tag(sync=True)
    places = traitlets.List([]).tag(sync=True)
    boxes = traitlets.List([]).tag(sync=True)
    step = traitlets.Float(0.05).tag(sync=True)
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __init__(
        self,
        axes: Axes,
        names: Sequence[str],
        moved: Callable[[int, tuple[float, float] | None], object],
        step: float = 0.05,
    ):
        """`axes` keep their place in the figure, and their limits; a name for each point; `step`:
        how far an arrow key goes."""
        at = axes.get_position()
        limits = [*map(float, (*axes.get_xlim(), *axes.get_ylim()))]
        frame = [at.x0, 1 - at.y1, at.width, at.height]  # of the picture, from its upper left
        nowhere = {"places": [[0.0, 0.0]] * len(names), "boxes": [_within(limits)] * len(names)}
        self.moved = moved
        self.held: int | None = None
        super().__init__(frame=frame, limits=limits, names=list(names), step=step, **nowhere)
        self.on_msg(self._heard)

    def show(self, places: Sequence[Sequence[float]], boxes: Sequence[Box]) -> None:
        """Where the points are now, and how far each may go; never out of the axes."""
        within = _within(self.limits)
        ends = (max, max, min, min)
        held = [[f(a, b) for f, a, b in zip(ends, box, within, strict=True)] for box in boxes]
        with self.hold_sync():
            self.places, self.boxes = [list(map(float, p)) for p in places], held

    def over(self, picture: widgets.Widget) -> widgets.Widget:
        """The picture of the figure with the handles on it."""
        found = widgets.VBox([picture, self])
        found.add_class("mpkit-dragged")
        return found

    def _heard(self, _: object, message: object, buffers: object) -> None:
        if not isinstance(message, dict):
            return
        which, place = message.get("which"), message.get("place")
        try:
            if type(which) is int and 0 <= which < len(self.names):
                self.held = which if message.get("held") is True else None
                self.moved(which, None if place is None else self._within_box(which, place))
        finally:  # the next one is sent only then
            self.send({"view": message.get("view"), "heard": message.get("number")})

    def _within_box(self, which: int, place: object) -> tuple[float, float] | None:
        """Within the box; None for what is no place."""
        if not isinstance(place, list) or len(place) != 2:
            return None
        if not all(isinstance(v, Real) and math.isfinite(v) for v in place):
            return None
        left, bottom, right, top = self.boxes[which]
        return min(max(place[0], left), right), min(max(place[1], bottom), top)


def _within(limits: Sequence[float]) -> list[float]:
    left, right, bottom, top = limits
    return [left, bottom, right, top]
