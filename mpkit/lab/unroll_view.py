"""The picture of `UnrollLab`: the plane with its arrows, the losses ahead, the moves so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.text import Text
from torch import Tensor

from mpkit.lab.kit.canvas import BLACK, BLUE, ORANGE, RED, font_size, new_figure
from mpkit.lab.kit.dark import GROUND
from mpkit.lab.kit.legends import (
    KEPT_STYLES,
    guess_line,
    hold,
    legend_below,
    show_guess,
    show_kept,
)
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.views import Playhead, show_marks, tidy
from mpkit.lab.unroll_toy import Params, Toy, network

BROWN = "#8a5a00"  # of the poisons' kin, and seen on either ground
GRID, EDGE = 60, 2.4
"""How finely the ground is drawn, and how far the plane reaches from its middle."""


def drawn(arrows: Tensor) -> Tensor:
    """Arrows (P, 2) as they are drawn, in every picture on one and the same scale, a logarithmic
    one: 0.15 long for 0.0001 and less, and 0.17 more for each factor of ten; zero stays zero.
    """
    length = arrows.norm(dim=1, keepdim=True)
    tens = (length.clamp(min=1e-4) / 1e-4).log10()
    return arrows / length.clamp(min=1e-12) * (0.15 + 0.17 * tens) * (length > 1e-12)


def lengths(arrows: Tensor) -> list[str]:
    """How long the arrow (P, 2) of each poison is, by its number: a line each."""
    long = enumerate(arrows.norm(dim=1).tolist(), 1)
    return ["length of arrow", *(f"{i}: {length:.2g}" for i, length in long)]


def note_lengths(axes: Axes, size: float) -> Text:
    """Room for `lengths`, in the corner where points seldom are."""
    look = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 3}
    place = {"transform": axes.transAxes, "ha": "left", "va": "top"}
    return axes.text(0.02, 0.98, "", fontsize=size, bbox=look, zorder=6, **place)


class UnrollView:
    """Laid out once for a number of poisons and moves, and then updated in place."""

    def __init__(self, poisons: int, moves: int, furthest: int, large: bool = False):
        self.figure, self.moves = new_figure(9, 4.4, large), moves
        grid = self.figure.add_gridspec(
            2, 2, width_ratios=(3, 2), left=0.06, right=0.98, top=0.92, bottom=0.14, wspace=0.25,
            hspace=0.9 if large else 0.6,
        )  # fmt: skip
        self.plane = self.figure.add_subplot(grid[:, 0])
        self.ahead = self.figure.add_subplot(grid[0, 1])
        self.history = self.figure.add_subplot(grid[1, 1])
        tidy(self.plane, "arrows: −∂L_adv/∂x")
        tidy(self.ahead, "looking ahead", "training steps k", "L_adv(w_k)")
        tidy(self.history, "following the arrows", "move", "L_adv(w_K)")
        self._lay_out_plane(poisons)
        for axes in (self.ahead, self.history):
            axes.axhline(0, color=RED, ls="--", lw=1)
        self.ahead.set_xlim(-0.3, furthest + 0.3)
        self.history.set_xlim(0, moves + 0.5)
        (self.look_line,) = self.ahead.plot([], [], "o-", color=BLACK, ms=4)
        (self.move_line,) = self.history.plot([], [], color=BLACK, lw=2, label="this run")
        self.kept_lines = [self.history.plot([], [], color=c, ls=s)[0] for c, s in KEPT_STYLES]
        self.head = Playhead(self.history)
        self.guess, self._marks = guess_line(self.history), []

    def _lay_out_plane(self, poisons: int) -> None:
        self.ground = self.plane.imshow(
            torch.zeros(GRID, GRID).numpy(), extent=(-EDGE, EDGE, -EDGE, EDGE), origin="lower",
            vmin=0, vmax=1, cmap="RdBu_r", alpha=0.45, interpolation="bilinear", aspect="auto",
            gid=GROUND,
        )  # fmt: skip
        self.clean = [
            self.plane.plot([], [], marker, color=c, ms=5, mec="white", label=shown(name))[0]
            for marker, c, name in (("s", BLUE, "class 0"), ("o", RED, "class 1"))
        ]
        (self.boxes,) = self.plane.plot([], [], "--", color=BROWN, lw=1.2, label="within ε")
        (self.bad,) = self.plane.plot([], [], "D", color=ORANGE, ms=12, mec=BLACK, label="poisons")
        (self.target,) = self.plane.plot([], [], "*", color=BLUE, ms=17, mec=BLACK, label="target")
        spot = [0.0] * poisons
        look = {"weight": "bold", "fontsize": 8, "ha": "center", "va": "center"}
        self.numbers = [self.plane.text(0, 0, str(i + 1), **look) for i in range(poisons)]
        self.lengths = note_lengths(self.plane, font_size(self.figure, 8))
        self.quiver = self.plane.quiver(
            spot, spot, spot, spot, color=BLACK, angles="xy", scale_units="xy", scale=1, width=0.006
        )
        self.plane.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE))
        legend_below(self.plane, -0.06)

    def points(self, toy: Toy, poisons: Tensor, arrows: Tensor) -> None:
        """Both classes, the target, the poisons (P, 2), and an arrow (P, 2) at each of them."""
        for label, artist in enumerate(self.clean):
            artist.set_data(*toy.x[toy.y == label].T.numpy())
        self.bad.set_data(*poisons.T.numpy())
        self.target.set_data(*toy.target.T.numpy())
        self.quiver.set_offsets(poisons.numpy())
        self.quiver.set_UVC(*drawn(arrows).T.numpy())
        self.lengths.set_text("\n".join(shown(line) for line in lengths(arrows)))
        for name, place in zip(self.numbers, poisons.tolist(), strict=True):
            name.set_position(place)

    def bounds(self, boxes: Tensor) -> None:
        """How far each poison may go, (P, 4): left, bottom, right, top."""
        lines = boxes[:, [0, 2, 2, 0, 0, 0, 1, 1, 3, 3, 1, 1]].view(-1, 2, 6)
        lines[..., -1] = torch.nan  # which parts one box from the next
        self.boxes.set_data(*lines.transpose(0, 1).flatten(1).numpy())

    @torch.no_grad()
    def trained(self, weights: Params, title: str) -> None:
        """What a network of these weights says at every place of the plane."""
        line = torch.linspace(-EDGE, EDGE, GRID)
        spots = torch.cartesian_prod(line, line).flip(1)
        said = network(weights, spots).softmax(-1)[:, 1].view(GRID, GRID)
        self.ground.set_data(said.numpy())
        self.plane.set_title(shown(title), loc="left", fontsize=font_size(self.figure, 10))

    def curves(
        self,
        ahead: Sequence[float],
        run: tuple[Sequence, Sequence],
        marks: Sequence,
        count: int | None = None,
    ) -> None:
        """L_adv after 0 … K training steps, and after every move of the run (moves, losses); those
        after the first `count` are pale."""
        self.look_line.set_data(range(len(ahead)), ahead)
        self.move_line.set_data(*(part[:count] for part in run))
        self.head.put(*run, count)
        kept = [y for line in self.kept_lines for y in line.get_ydata()]
        for axes, values in ((self.ahead, ahead), (self.history, [*run[1], *kept] or ahead)):
            low, high = min(*values, 0, -0.2), max(*values, 0, 0.2)
            hold(axes, low - 0.15 * (high - low), high + 0.15 * (high - low))
        show_marks(self.history, self._marks, marks)

    def moving(self) -> list:
        """What changes from frame to frame."""
        plane = [self.ground, *self.clean, self.boxes, self.quiver, self.bad, self.target]
        words = [*self.numbers, self.lengths]
        lines = [self.look_line, *self.kept_lines, *self.head.parts, self.move_line, self.guess]
        return [*plane, *words, *lines, *self._marks]

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed move; None leaves it out."""
        show_guess(self.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """`Line`s of other runs behind this one's."""
        show_kept(self.history, self.kept_lines, lines)
