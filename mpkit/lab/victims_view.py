"""VictimsLab's picture: a dot a victim, how many turned, and what it costs (slides 10–11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import ARMS, LAST
from mpkit.evaluation.tally import diverged, success_rate
from mpkit.evaluation.victims import VictimRecord
from mpkit.lab.kit.canvas import GREY, font_size
from mpkit.lab.kit.legends import KEPT_STYLES, legend
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.looks import LOOKS, RateRow, name_rows
from mpkit.lab.kit.views import ProbabilityView, room_for, tidy
from mpkit.lab.wish import wish_of
from mpkit.scenario import Scenario


def _points(x: Sequence[float], y: Sequence[float]) -> np.ndarray:
    """(N, 2), also for none."""
    return np.column_stack([x, y]) if x else np.empty((0, 2))


def _heights(row: int, records: Sequence[VictimRecord]) -> list[float]:
    """Dots of one arm lie a little apart, each victim always at the same height."""
    return [row + 0.25 * ((r.victim * 0.618) % 1 - 0.5) for r in records]


class CountsView:
    """Laid out once on a figure for one scenario; `update` brings it up to date. `epochs` is how
    long victims train."""

    def __init__(self, figure: Figure, scenario: Scenario, epochs: int):
        names, self.epochs = scenario.train.classes, epochs
        self.figure, self.wish = figure, wish_of(scenario)
        self.true, self.wanted = self.wish.true, self.wish.wanted
        room = room_for(names, figure)
        grid = figure.add_gridspec(
            2, 3, width_ratios=(5.4 - room, room, 2.4), height_ratios=(1.2, 1),
            left=0.105, right=0.97, top=0.93, bottom=0.11, hspace=0.5, wspace=0.2,
        )  # fmt: skip
        self.dots, self.rates = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        bars = figure.add_subplot(grid[0, 2])
        self.accuracy = figure.add_subplot(grid[1, 1:])
        wish = self.wish
        self.bars = ProbabilityView(bars, names, wish.label, wish.adversarial, "")
        # To the right: in large letters it is longer than its plot.
        bars.set_title("poisoned victims say", loc="right", fontsize=font_size(figure, 10))
        self._arms()
        self._axes()

    def _arms(self) -> None:
        self.clouds, self.levels, self.rows, self.training = {}, {}, {}, {}
        for row, arm in enumerate(ARMS):
            colour, marker, _ = LOOKS[arm]
            look = {"color": colour, "marker": marker, "alpha": 0.75}
            self.clouds[arm] = self.dots.scatter([], [], s=40, **look)
            under_way = {"facecolors": "none", "edgecolors": colour, "marker": marker}
            self.training[arm] = self.dots.scatter([], [], s=40, **under_way)
            self.levels[arm] = self.accuracy.scatter([], [], s=30, **look)
            self.rows[arm] = RateRow(self.rates, row, arm)
        self.spans = {arm: row.span for arm, row in self.rows.items()}
        self.line = self.rates.axvline(-1, color=GREY, ls=(0, (2, 2)), lw=2)
        self.kept = [
            self.rates.plot([], [], ls="", marker="|", ms=22, mew=2.5, color=c, zorder=1)[0]
            for c, _ in KEPT_STYLES
        ]

    def _axes(self) -> None:
        tidy(self.dots)
        self.say(f"each victim: probability of {self.wanted}")
        tidy(self.rates, "", f"share that says {self.wanted}, 95 % interval")
        tidy(self.accuracy, "", "accuracy on other pictures")
        self.accuracy.locator_params(axis="x", nbins=5)  # its limits move, and may be close
        for axes in (self.dots, self.rates, self.accuracy):
            name_rows(axes, ARMS if axes is not self.accuracy else [""] * 3)  # as to its left
            axes.set_xlim(-0.03, 1.03)

    def say(self, text: str) -> None:
        """The line above the dots."""
        size = font_size(self.figure, 10)
        self.title = self.dots.set_title(shown(text), loc="left", fontsize=size)

    def tell(self, poisons: str) -> None:
        """Which poisons these victims trained on."""
        self.accuracy.set_title(shown(poisons), loc="left", fontsize=font_size(self.figure, 9))

    def guess(self, guess: float, text: str) -> None:
        """A line at the guess, and `text` above it."""
        self.line.set_xdata([guess, guess])
        self.rates.set_title(shown(text), loc="left", fontsize=font_size(self.figure, 9))

    def update(
        self,
        records: Sequence[VictimRecord],
        probabilities: Sequence[float],
        training: Sequence[VictimRecord] = (),
    ) -> None:
        """Show these victims and twins, and the poisoned ones' mean probabilities (classes,); those
        in `training` are hollow, and not counted.

        Those that diverged have no dot: the words above the rate name them.
        """
        for row, arm in enumerate(ARMS):
            for some, dots in ((records, self.clouds), (training, self.training)):
                mine = [r for r in some if r.arm == arm and not r.diverged]
                chances = [self.probability(r) for r in mine]
                dots[arm].set_offsets(_points(chances, _heights(row, mine)))
            mine = [r for r in records if r.arm == arm and not r.diverged]
            levels = [r.accuracy for r in mine]
            self.levels[arm].set_offsets(_points(levels, _heights(row, mine)))
            found = success_rate(records, arm) if records else None
            self.rows[arm].show(found, diverged(records, arm))
        lowest = min((r.accuracy for r in records if not r.diverged), default=0.0)
        self.accuracy.set_xlim(max(0, lowest - 0.08), 1.01)
        self.bars.update(probabilities)
        size = font_size(self.figure, 8)
        words = [self._held(records), "hollow: in training" * bool(training)]
        told = "; ".join(part for part in words if part)
        self.dots.set_xlabel(shown(told), fontsize=size, loc="left")

    def _held(self, records: Sequence[VictimRecord]) -> str:
        """Under the dots: whether the poisoned victims' flips hold, and what they would be by the
        other statistics of batch norm."""
        mine = [r for r in records if r.arm == "poisoned"]
        if not mine:
            return ""
        last = min(LAST, self.epochs)
        held = sum(sum(r.held) / len(r.held) for r in mine) / len(mine)
        words = f"poisoned: held {held * last:.1f} of the last {last} epochs"
        others = [r.other_statistics for r in mine if r.other_statistics]
        if others:
            found = success_rate(others, "poisoned")
            by = f"{others[0].statistics} statistics"
            words += f"; {by}: {found.successes} of {found.n}"
        return words

    def moving(self) -> list:
        """What changes from frame to frame."""
        rows = [part for row in self.rows.values() for part in row.parts]
        clouds = [*self.training.values(), *self.clouds.values(), *self.levels.values()]
        return [self.line, *self.kept, *clouds, *rows, *self.bars.bars, self.title]

    def probability(self, record: VictimRecord) -> float:
        """What a victim gives the attacker's wish for the target that is shown."""
        return self.wish.chance(record.true_probability[0], record.adversarial_probability[0])

    def compare(self, lines: Sequence) -> None:
        """Mark the final share of other runs (`Line`s) on the poisoned row."""
        for i, artist in enumerate(self.kept):
            line = lines[i] if i < len(lines) else None
            artist.set_data(([line.y[-1]], [0]) if line else ([], []))
            about = f"{line.label}: {percent(line.y[-1], 0)} of {line.x[-1]}" if line else ""
            artist.set_label(shown(about) or "_")
        if lines:
            legend(self.rates, markerscale=0.4)


def said_by(records: Sequence[VictimRecord], scenario: Scenario) -> list[float]:
    """The target's class probabilities, averaged over the poisoned victims; zeros while there are
    none that did not diverge."""
    mine = [r for r in records if r.arm == "poisoned" and not r.diverged]
    rows = [r.probabilities[0] for r in mine]
    return torch.tensor(rows).mean(0).tolist() if rows else [0.0] * len(scenario.train.classes)
