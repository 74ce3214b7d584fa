"""How the three arms of an experiment look in every picture, and how a rate is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.text import Text

from mpkit.evaluation.rates import Rate
from mpkit.evaluation.tally import with_diverged
from mpkit.lab.kit.canvas import BLUE, GREY, RED, font_size
from mpkit.lab.kit.legends import hold
from mpkit.lab.kit.letters import shown

LOOKS = {"poisoned": (RED, "o", "-"), "clean": (BLUE, "s", "--"), "noise": (GREY, "^", ":")}
"""Colour, marker and line of every arm."""


class RateRow:
    """A rate in a row of a plot: its point, its interval, and the count in words above it."""

    def __init__(self, axes: Axes, row: int, arm: str):
        colour, marker, line = LOOKS[arm]
        self.row, size = row, font_size(axes.figure, 8)
        (self.point,) = axes.plot([], [], marker, color=colour, ms=7)
        (self.span,) = axes.plot([], [], color=colour, ls=line, lw=2.5)
        self.words = axes.text(0.5, row - 0.29, "", ha="center", va="center", fontsize=size)

    def show(self, found: Rate | None, diverged: int = 0) -> None:
        """Another rate, or none yet; how many victims diverged is told beside it."""
        if found is None:
            self.words.set_text("")
            for line in (self.point, self.span):
                line.set_data([], [])
            return
        self.point.set_data([found.rate], [self.row])
        self.span.set_data([found.low, found.high], [self.row, self.row])
        show_count(self.words, found, diverged)

    @property
    def parts(self) -> list:
        """What changes from frame to frame."""
        return [self.span, self.point, self.words]


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """One row for each name, from the top down."""
    axes.set_yticks(range(len(names)), map(shown, names), fontsize=font_size(axes.figure, 8))
    hold(axes, max(1, len(names)) - 0.5, -0.5)


def show_count(words: Text, found: Rate, diverged: int = 0) -> None:
    """8 of 8, say, above the point that stands at the rate; at an end it is written inwards."""
    words.set_text(shown(with_diverged(f"{found.successes} of {found.n}", diverged)))
    words.set_x(found.rate)
    words.set_ha("left" if found.rate < 0.2 else "right" if found.rate > 0.8 else "center")
