"""DefenseLab's picture: a row and a point a defense, and what is certified where anything is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.ticker import MaxNLocator

from mpkit.lab.defense_judged import Judged
from mpkit.lab.kit.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, font_size, new_figure
from mpkit.lab.kit.legends import KEPT_STYLES, guess_line, legend, legend_below
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.looks import name_rows
from mpkit.lab.kit.numbers import notes_for, number_points
from mpkit.lab.kit.views import tidy

LOOKS = {
    "none": (BLACK, "*", "no defense"),
    "filter": (BLUE, "o", "filter"),
    "training": (ORANGE, "^", "while training"),
    "certified": (GREEN, "s", "certified"),
}
"""Colour, marker and name of each kind of defense."""
TWIN = {"marker": "o", "mfc": "none", "mec": GREY, "color": GREY, "ls": "", "zorder": 1.5}
"""Twins without poisons: a ring, which is seen around a point as well."""
UPPER, LOWER = (0.6, 0.32), (0.13, 0.21)
"""Bottom and height of the points above a curve, and of the curve."""


class DefenseView:
    """Laid out for some defenses, and then updated in place."""

    def __init__(self, large: bool = False):
        self.figure = new_figure(9, 5.4 if large else 4.6, large)

    def lay_out(self, names: Sequence[str]) -> None:
        """Empty axes for these defenses, a row each, with its number."""
        self.figure.clear()
        self.names = {name: row for row, name in enumerate(names)}
        box = {
            "top": 0.92,
            "bottom": 0.19,
            "left": 0.23 if self.figure.large else 0.17,
            "right": 0.985,
            "wspace": 0.36,
        }
        grid = self.figure.add_gridspec(1, 2, width_ratios=(1.15, 1), **box)
        self.rates, self.points = (self.figure.add_subplot(cell) for cell in grid)
        self.place = self.points.get_position()
        self.certified = self.figure.add_axes((*self.place.p0, self.place.width, LOWER[1]))
        tidy(self.rates, "", "share of victims that turned")
        name_rows(self.rates, [f"{name}  {row + 1}" for name, row in self.names.items()])
        self.rates.set_xlim(-0.03, 1.2)
        self.rates.set_xticks([0, 0.5, 1])
        tidy(self.points, "each defense at its number", "clean accuracy", "share that turned")
        self.points.set(xlim=(0, 1), ylim=(-0.08, 1.24), yticks=[0, 0.5, 1])
        tidy(self.certified, "certified by the vote", "changed pictures", "test pictures")
        self.certified.set(xlim=(0, 1), ylim=(0, 1))
        self.certified.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        self._parts()
        self.update([])

    def _parts(self) -> None:
        size = font_size(self.figure, 8)
        self.guess = guess_line(self.rates)
        kept = {"ls": "", "marker": "|", "ms": 14, "mew": 2.5, "zorder": 1}
        self.kept = [self.rates.plot([], [], color=c, **kept)[0] for c, _ in KEPT_STYLES]
        self.rows = [
            (
                self.rates.plot([], [], lw=2.5)[0],
                self.rates.plot([], [], ms=11, **TWIN)[0],
                self.rates.plot([], [], ls="", ms=7)[0],
                self.rates.text(1.06, row, "", va="center", fontsize=size),
            )
            for row in self.names.values()
        ]
        self.cross = [draw(-1, color=GREY, ls=":", lw=1) for draw in _lines(self.points)]
        self.dots = [
            (
                self.points.plot([], [], lw=1.2, alpha=0.5)[0],
                self.points.plot([], [], ms=11, **TWIN)[0],
                self.points.plot([], [], ls="", ms=7)[0],
            )
            for _ in self.names
        ]
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
        self.numbers = notes_for(self.points, len(self.names), fontsize=size, bbox=paper)
        (self.curve,) = self.certified.plot([], [], color=GREEN, lw=2, drawstyle="steps-post")
        for colour, marker, name in LOOKS.values():
            self.points.plot([], [], marker, color=colour, ms=6, label=shown(name))
        self.points.plot([], [], ms=4, label="no poisons", **TWIN)

    def say(self, text: str) -> None:
        """The line above the rows."""
        size = font_size(self.figure, 10)
        self.rates.set_title(shown(text), loc="left", fontsize=size, x=-0.45)

    def guess_at(self, share: float) -> None:
        """A dotted line at the share that was guessed."""
        self.guess.set_xdata([share, share])
        self.rates.set_xlabel("share of victims that turned (dotted: your guess)")

    def update(self, judged: Sequence[Judged]) -> None:
        """Show these defenses, and none of the others."""
        found = {j.defense: j for j in judged}
        for name, row in self.names.items():
            self._row(row, found.get(name))
        there = [j for j in judged if j.records and math.isfinite(j.accuracy)]
        accuracies = [j.accuracy for j in there]
        ends = min(accuracies, default=0.0), max(accuracies, default=1.0)
        low, high = max(0.0, ends[0] - 0.06), min(1.04, ends[1] + 0.06)
        self.points.set_xlim(min(low, high - 0.3), high)  # less than that, and luck looks large
        across, up = next(
            ((j.accuracy, j.rate().rate) for j in there if j.defense == "none"), (-1, -1)
        )
        self.cross[0].set_xdata([across] * 2)
        self.cross[1].set_ydata([up] * 2)
        self._certificate([j for j in judged if len(j.certified)])
        at = -0.13 * self.place.height / self.points.get_position().height
        legend_below(self.points, at, columns=3)
        places = [(j.accuracy, j.rate().rate, self.names[j.defense] + 1) for j in there]
        number_points(self.points, self.numbers, places)

    def _row(self, row: int, j: Judged | None) -> None:
        (span, twin, point, words), (up, other, dot) = self.rows[row], self.dots[row]
        for part in (span, twin, point, up, other, dot):
            part.set_data([], [])
        words.set_text(shown("" if j is None else "not here" if j.refused else j.count))
        if j is None or not j.records:
            return
        colour, marker, _ = LOOKS[j.kind]
        found, clean = j.rate(), j.rate("clean").rate
        for part in (span, point, up, dot):
            part.set_color(colour)
        for part in (point, dot):
            part.set_marker(marker)
        span.set_data([found.low, found.high], [row, row])
        twin.set_data([clean], [row])
        point.set_data([found.rate], [row])
        if math.isfinite(j.accuracy):
            up.set_data([j.accuracy] * 2, [found.low, found.high])
            other.set_data([j.accuracy], [clean])
            dot.set_data([j.accuracy], [found.rate])

    def _certificate(self, judged: Sequence[Judged]) -> None:
        """The curve under the points; without one, they have all the room."""
        self.certified.set_visible(bool(judged))
        x0, width, top = self.place.x0, self.place.width, self.place.y1
        upper = (x0, UPPER[0], width, top - UPPER[0]) if judged else self.place
        self.points.set_position(upper)
        self.curve.set_data([], [])
        if judged:
            self.certified.set_position((x0, LOWER[0], width, LOWER[1]))
            shares = judged[-1].certified
            self.curve.set_data(range(len(shares)), shares)
            self.certified.set_xlim(0, max(1, len(shares) - 1))

    def compare(self, lines: Sequence, names: Sequence[str]) -> None:
        """Mark the rates of other runs (`Line`s whose x are places in `names`, all defenses)."""
        for i, artist in enumerate(self.kept):
            line = lines[i] if i < len(lines) else None
            pairs = zip(line.x, line.y, strict=True) if line else ()
            there = [(y, self.names[names[x]]) for x, y in pairs if names[x] in self.names]
            artist.set_data([y for y, _ in there], [row for _, row in there])
            artist.set_label(shown(line.label) if line else "_")
        legend(self.rates, markerscale=0.4)


def _lines(axes):
    return axes.axvline, axes.axhline
