"""The picture of `CollisionLab`: base + δ = poison, and both in the network's features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mpkit.finetuning import features
from mpkit.functional import State, own
from mpkit.lab.kit import legends, views
from mpkit.lab.kit.canvas import BLACK, BLUE, GREEN, ORANGE, RED, font_size, new_figure
from mpkit.lab.kit.letters import shown
from mpkit.scenario import Scenario


class CollisionView:
    """Laid out once for a scenario (`lay_out`), and then updated in place."""

    def __init__(self, large: bool = False):
        self.figure = new_figure(9.6, 5.2, large)

    def lay_out(self, scenario: Scenario, steps: int) -> None:
        """Empty axes for a run of so many steps from the scenario's first base to its target."""
        self.figure.clear()
        train, names = scenario.train, scenario.train.classes
        self.base, self.target = scenario.base_images[0], scenario.targets[0]
        true, kind = int(scenario.target_labels[0]), int(train.y[scenario.bases[0]])
        self.crowds = [train.x[train.rows_of(c)[:40]] for c in (true, kind)]
        grid = self.figure.add_gridspec(
            2, 4, left=0.085, right=0.985, top=0.93, bottom=0.1, hspace=0.38, wspace=0.3
        )
        titles = (f"base: {names[kind]}", "change", "poison", f"target: {names[true]}")
        faces = [self.figure.add_subplot(grid[0, i]) for i in range(len(titles))]
        self.images = [self._face(axes, title) for axes, title in zip(faces, titles, strict=True)]
        self.images[1].set_data(_shown(torch.full_like(self.base, 0.5)))  # nothing has changed yet
        self.images[3].set_data(_shown(self.target))
        self.far = self.figure.add_subplot(grid[1, :2])
        views.tidy(self.far, "how far from the target's features", "step", "distance")
        self.far.set_xlim(0, steps + 0.5)
        self.far.tick_params(left=False, labelleft=False)  # how far is not known yet
        legends.hold(self.far, 0, 1)
        (self.line,) = self.far.plot([], [], color=BLACK, lw=2, label="this run")
        self.kept_lines = [self.far.plot([], [], color=c, ls=s)[0] for c, s in legends.KEPT_STYLES]
        self.head = views.Playhead(self.far)
        self.guess, self._marks = legends.guess_line(self.far), []
        looks = (
            ("s", BLUE, 4, names[true]),
            ("o", GREEN, 4, names[kind]),
            ("P", GREEN, 11, "base"),
            ("D", ORANGE, 9, "poison"),
            ("*", RED, 15, "target"),
        )
        space = self.figure.add_subplot(grid[1, 2:])
        self.space = views.CloudView(space, "features (two main directions)", looks)

    def _face(self, axes, title: str):
        image = axes.imshow(_shown(self.base), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(shown(title), fontsize=font_size(self.figure, 10))
        axes.set_axis_off()
        return image

    def update(
        self,
        poison: Tensor,
        curve: tuple[Sequence, Sequence],
        marks: Sequence,
        count: int | None = None,
    ) -> None:
        """The poison (C, H, W), and how far it has been after every step (steps, distances); those
        after the first `count` are pale."""
        change = poison - self.base
        factor = 0.5 / max(float(change.abs().max()), 1 / 255)
        self.images[1].set_data(_shown((0.5 + factor * change).clamp(0, 1)))
        self.images[1].axes.set_title(f"change ×{factor:.1f}", fontsize=font_size(self.figure, 10))
        self.images[2].set_data(_shown(poison))
        self.line.set_data(*(part[:count] for part in curve))
        self.head.put(*curve, count)
        self.far.tick_params(left=True, labelleft=True)
        legends.hold(self.far, 0, 1.1 * max([*curve[1], *legends.seen_of(self.kept_lines)]))
        views.show_marks(self.far, self._marks, marks)

    @views.one_blas_thread
    @torch.no_grad()
    def places(self, network: nn.Module, state: State, poison: Tensor) -> np.ndarray:
        """Two classes, base, poison and target in the features of one model, along the two main
        directions (PCA) of the two classes: (N, 2)."""
        from sklearn.decomposition import PCA

        groups = self._groups(poison)
        found = features(own(network), state, torch.cat(groups))
        rows, known = found.double().numpy(), sum(map(len, self.crowds))
        return PCA(2, random_state=0).fit(rows[:known]).transform(rows)

    def put(self, places: np.ndarray) -> None:
        """Show `places`."""
        self.space.update(places, [len(g) for g in self._groups(self.base)])

    def _groups(self, poison: Tensor) -> list[Tensor]:
        return [*self.crowds, self.base[None], poison[None], self.target[None]]

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed step; None leaves it out."""
        legends.show_guess(self.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """`Line`s of other runs behind this one's."""
        legends.show_kept(self.far, self.kept_lines, lines)


def _shown(picture: Tensor):
    """(C, H, W) as matplotlib wants it."""
    return picture.detach().cpu().permute(1, 2, 0).numpy()
