"""CraftLab's plots: losses of the surrogates, and what they say of the target."""

from __future__ import annotations

from collections.abc import Sequence

from mpkit.lab.kit.canvas import font_size, new_figure
from mpkit.lab.kit.legends import show_guess
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.views import LossView, ProbabilityView, room_for
from mpkit.lab.wish import wish_of
from mpkit.metapoison import CraftRecord
from mpkit.scenario import Scenario
from mpkit.settings import loss_in_words


class CraftView:
    """Laid out once for a scenario (`lay_out`), and then updated in place."""

    def __init__(self, large: bool = False):
        self.large = large
        self.figure = new_figure(9, 4 if large else 3, large)

    def lay_out(
        self, scenario: Scenario, steps: int, epochs: int, method: str = "metapoison"
    ) -> None:
        """Empty axes for a run of so many craft steps, surrogates being at most `epochs` old."""
        self.figure.clear()
        names = scenario.train.classes
        wish = wish_of(scenario)
        room = room_for(names, self.figure)
        grid = self.figure.add_gridspec(
            1, 3, width_ratios=(6 - room, room, 2.2),
            left=0.1 if self.large else 0.075, right=0.985, top=0.9, bottom=0.18,
            wspace=0.32 if self.large else 0.2,
        )  # fmt: skip
        axes, meta = self.figure.add_subplot(grid[0]), method == "metapoison"
        self.losses = LossView(axes, steps, epochs, wish.wanted, loss_in_words(method))
        bars = self.figure.add_subplot(grid[2])
        self.bars = ProbabilityView(bars, names, wish.label, wish.adversarial, "")
        # To the right: in large letters it is longer than its plot.
        bars.set_title(
            shown("surrogates say" if meta else "clean models say"),
            loc="right",
            fontsize=font_size(self.figure, 10),
        )

    def moving(self) -> list:
        """What changes from frame to frame."""
        return [*self.losses.moving(), *self.bars.bars]

    def update(
        self,
        records: Sequence[CraftRecord],
        marks: Sequence[tuple[float, str]],
        probabilities: Sequence[float],
        count: int | None = None,
    ) -> None:
        """The losses, those after `count` records pale, and what the ensemble gives the target
        (classes,) at that moment."""
        self.losses.update(records, marks, count)
        self.bars.update(probabilities)

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed step; None leaves it out."""
        show_guess(self.losses.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """`Line`s of other runs behind this one's losses."""
        self.losses.compare(lines)
