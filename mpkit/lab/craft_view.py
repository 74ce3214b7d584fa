"""CraftLab's picture: losses of the surrogates, what they say of the target, and the poisons."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from mpkit.lab.kit.canvas import font_size, new_figure
from mpkit.lab.kit.legends import brief, show_guess
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.views import LossView, ProbabilityView, StripView, room_for
from mpkit.lab.wish import wish_of
from mpkit.metapoison import CraftRecord
from mpkit.scenario import Scenario


class CraftView:
    """Laid out once for a scenario (`lay_out`), and then updated in place."""

    def __init__(self, large: bool = False):
        self.large, self.page = large, 0
        self.figure = new_figure(9, 6.4 if large else 5.4, large)

    def lay_out(self, scenario: Scenario, steps: int, epochs: int, epsilon: float) -> None:
        """Empty axes for a run of so many craft steps, surrogates being at most `epochs` old."""
        self.figure.clear()
        names = scenario.train.classes
        wish = wish_of(scenario)
        room = room_for(names, self.figure)
        grid = self.figure.add_gridspec(
            2, 4, width_ratios=(4.6 - room, 1.5, room, 1.9), height_ratios=(3, 2),
            left=0.1 if self.large else 0.075, right=0.985, top=0.93, bottom=0.02,
            hspace=0.5 if self.large else 0.36, wspace=0.32 if self.large else 0.24,
        )  # fmt: skip
        self.losses = LossView(self.figure.add_subplot(grid[0, 0]), steps, epochs, wish.wanted)
        face, bars = self.figure.add_subplot(grid[0, 1]), self.figure.add_subplot(grid[0, 3])
        picture = scenario.targets[0].cpu().permute(1, 2, 0).numpy()
        face.imshow(picture, cmap="gray", vmin=0, vmax=1)
        face.set_title(f"target: {brief(shown(wish.true))}", fontsize=font_size(self.figure, 10))
        face.set_axis_off()
        self.bars = ProbabilityView(bars, names, wish.label, wish.adversarial, "")
        # To the right: in large letters it is longer than its plot.
        bars.set_title("surrogates say", loc="right", fontsize=font_size(self.figure, 10))
        self.strip = StripView(self.figure.add_subplot(grid[1, :]), scenario.base_images, 10)
        self.page = min(self.page, self.strip.pages - 1)
        self.show(scenario.base_images, epsilon)

    def moving(self) -> list:
        """What changes from frame to frame."""
        return [*self.losses.moving(), *self.bars.bars, self.strip.image]

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

    def show(self, poisons: Tensor, epsilon: float) -> None:
        """The page of these poisons, (P, C, H, W) in [0, 1], that is turned to."""
        self.strip.page = self.page
        self.strip.update(poisons, epsilon)
