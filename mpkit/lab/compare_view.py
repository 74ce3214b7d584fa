"""CompareLab's picture: success rates with their intervals, surrogates' losses, accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from mpkit.evaluation.rates import Rate, rate
from mpkit.evaluation.tally import diverged
from mpkit.evaluation.victims import VictimRecord, mean_accuracy
from mpkit.lab.kit.canvas import RED, font_size, new_figure
from mpkit.lab.kit.legends import KEPT_STYLES, guess_line, legend
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.looks import LOOKS, RateRow, name_rows
from mpkit.lab.kit.views import tidy


class Row(NamedTuple):
    """What is counted of one variant in one arm; `losses` of its surrogates, one a target; `epochs`
    of its victims' training."""

    label: str
    arm: str
    records: Sequence[VictimRecord]
    losses: Sequence[float]
    epochs: int

    @property
    def rate(self) -> Rate | None:
        """Successes over victims × targets; None before there are any."""
        outcomes = [s for r in self.records for s in r.success]
        return rate(sum(outcomes), len(outcomes)) if outcomes else None

    @property
    def accuracy(self) -> float:
        """On other pictures, averaged over the victims that did not diverge; NaN for none."""
        return mean_accuracy(self.records, self.arm)

    @property
    def diverged(self) -> int:
        """How many victims diverged: none of them is a success."""
        return diverged(self.records, self.arm)


class CompareView:
    """Laid out once for some rows, and then updated in place."""

    def __init__(self, large: bool = False):
        self.figure = new_figure(9, 5 if large else 3.8, large)

    def lay_out(self, rows: Sequence[Row]) -> None:
        """Empty axes for these rows."""
        self.figure.clear()
        grid = self.figure.add_gridspec(
            1, 3, width_ratios=(3, 1.3, 1.3), left=0.22, right=0.985, top=0.84, bottom=0.17,
            wspace=0.12,
        )  # fmt: skip
        self.rates, self.losses, self.levels = (self.figure.add_subplot(cell) for cell in grid)
        labels = [row.label for row in rows]
        for axes, title, words, names in (
            (self.rates, "", "share that turned, 95 % interval", labels),
            (self.losses, "surrogates", "final L_adv", None),
            (self.levels, "victims", "accuracy", None),
        ):
            tidy(axes, title, words)
            name_rows(axes, names or [""] * len(rows))
        self.rates.set_xlim(-0.03, 1.03)
        self.losses.set_xlim(-2, 6)
        self.levels.set_xlim(0, 1)
        self.losses.axvline(0, color=RED, ls="--", lw=1)
        self.say("share of fresh victims that turned")
        self.guess = guess_line(self.rates)
        self.parts = []
        for place, row in enumerate(rows):
            colour, marker, _ = LOOKS[row.arm]
            dots = [
                axes.plot([], [], marker, color=colour, ms=5, alpha=0.6)[0]
                for axes in (self.losses, self.levels)
            ]
            self.parts.append((RateRow(self.rates, place, row.arm), *dots))
        self.kept = [
            self.rates.plot([], [], ls="", marker="|", ms=18, mew=2.5, color=c, zorder=1)[0]
            for c, _ in KEPT_STYLES
        ]

    def say(self, text: str) -> None:
        """The line above the rates, and above the others' titles, which it may be longer than."""
        size = font_size(self.figure, 10)
        self.rates.set_title(shown(text), loc="left", fontsize=size, pad=6 + 1.6 * size)

    def guess_at(self, share: float) -> None:
        """A dotted line at the share that was guessed."""
        self.guess.set_xdata([share, share])
        self.rates.set_xlabel("share that turned, 95 % interval (dotted: your guess)")

    def update(self, rows: Sequence[Row]) -> None:
        """Show the rows as they are now."""
        for place, (row, parts) in enumerate(zip(rows, self.parts, strict=True)):
            shown, losses, levels = parts
            shown.show(row.rate, row.diverged)
            losses.set_data(row.losses, [place] * len(row.losses))
            accuracies = [r.accuracy for r in row.records if not r.diverged]
            levels.set_data(accuracies, [place] * len(accuracies))
        every = [loss for row in rows for loss in row.losses if isfinite(loss)]
        low, high = min([*every, 0]), max([*every, 0])
        room = 0.1 * (high - low) + 0.1
        self.losses.set_xlim(low - room, high + room)
        accuracies = [r.accuracy for row in rows for r in row.records if not r.diverged] or [0.0]
        self.levels.set_xlim(max(0, min(accuracies) - 0.05), min(1.01, max(accuracies) + 0.05))

    def compare(self, lines: Sequence) -> None:
        """Marks where the rates of other runs (`Line`s, one value a row) were."""
        for i, artist in enumerate(self.kept):
            line = lines[i] if i < len(lines) else None
            fits = line and len(line.y) == len(self.parts)
            artist.set_data((line.y, line.x) if fits else ([], []))
            artist.set_label(shown(line.label) if fits else "_")
        if lines:
            legend(self.rates, markerscale=0.4)
