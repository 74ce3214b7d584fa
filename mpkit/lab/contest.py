"""ContestBoard: red teams against blue teams, pair by pair, with the points so far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ipywidgets as widgets

from mpkit.contest.contest import drawn, open_contest, play
from mpkit.contest.report import pairs_table, write_report
from mpkit.contest.score import Score, scores
from mpkit.data.names import one_line
from mpkit.lab.kit.canvas import BLUE, RED, font_size, new_figure
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.looks import name_rows
from mpkit.lab.kit.panel import Lab, Question
from mpkit.lab.kit.views import tidy

LOOKS = {"red": (RED, "o"), "blue": (BLUE, "s")}
STYLE = (
    "<style>.mpkit-contest table { border-collapse: collapse; line-height: 1.4; }"
    ".mpkit-contest :is(th, td) { border: 1px solid #888; padding: 2px 10px; text-align: left; }"
    ".mpkit-contest small { display: block; }</style>"
)


class ContestBoard(Lab):
    """A contest's round, result by result: points of every team with their interval, and the table
    of pairs. ▶ draws the targets, if they were not drawn before, and plays what is missing; at the
    end the report and the marking sheet are in the folder.

    `folder`: see `mpkit.contest`. `draw`: the seed of the draw; without one nobody can foretell it.
    Raises ValueError for a folder that is no contest, or has no submission within its limits.
    """

    name, unit = "contest", "result"

    def __init__(
        self,
        folder: str | Path,
        draw: int | None = None,
        question: Question | None = None,
        large: bool = False,
    ):
        self.contest, self.seed = open_contest(folder), draw
        if not self.contest.teams:
            raise ValueError(f"{folder} has no submission within its limits")
        self.rows: list[dict] = []
        self.controls: dict = {}
        self.figure = new_figure(9, 1.4 + 0.45 * len(self.contest.teams), large)
        self.pairs = widgets.HTML(layout=widgets.Layout(overflow="auto"))
        self.pairs.add_class("mpkit-contest")
        self._draw()
        refused = [f"{name} is refused: {why}." for name, why in self.contest.refused.items()]
        self.assemble(self.figure, [], question, below=[self.pairs])
        self.say(one_line(" ".join(refused)))

    def items(self) -> Iterator[dict]:
        contest = drawn(self.contest, self.seed)
        yield self.put(contest=contest)
        yield from contest.results()
        yield from play(contest)
        write_report(contest)

    def take(self, item: dict) -> None:
        self.rows.append(item)
        self._draw()

    def clear(self) -> None:
        self.rows, self.contest = [], open_contest(self.contest.folder)
        self._draw()

    def total(self) -> int:
        return self.contest.total()

    def scores(self) -> list[Score]:
        """Every team's points so far, red teams first."""
        return scores(self.contest, self.rows)

    def curve(self):
        found = [s.points or 0.0 for s in self.scores()]
        return (list(range(len(found))), found) if self.rows else ((), ())

    def describe(self) -> str:
        about = f"Red and blue, {len(self.contest.teams)} teams. "
        if not self.rows:
            return about + "Nothing has been counted yet."
        return about + "; ".join(f"{s.team} ({s.side}): {s}" for s in self.scores()) + "."

    def guessed(self) -> None:
        self._draw()

    def kept(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.pairs.value = STYLE + pairs_table(self.contest, self.rows)
        self.figure.clear()
        axes, found = self.figure.add_axes((0.25, 0.2, 0.72, 0.68)), self.scores()
        tidy(axes, "points so far", "of 100, with the 95 % interval")
        name_rows(axes, [f"{s.team} ({s.side})" for s in found])
        axes.set_xlim(-3, 103)
        for row, score in enumerate(found):
            colour, marker = LOOKS[score.side]
            words = "lost its round" if score.lost else "" if score.points is not None else "–"
            if not words:
                axes.plot([score.low, score.high], [row, row], color=colour, lw=2.5)
                axes.plot([score.points], [row], marker, color=colour, ms=8)
            axes.text(1, row, shown(words), va="center", fontsize=font_size(self.figure, 9))
        if (guess := getattr(self, "guess", None)) is not None:
            axes.axvline(guess, color="#CC79A7", ls=":", lw=2.5)
