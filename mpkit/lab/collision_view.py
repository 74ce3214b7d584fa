"""What `CollisionLab` shows: base + δ = poison, and both in the network's features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mpkit.finetuning import features
from mpkit.functional import State, own
from mpkit.lab.kit import legends, views
from mpkit.lab.kit.canvas import BLACK, BLUE, GREEN, ORANGE, RED, new_figure
from mpkit.lab.kit.gallery import Pictures, magnified
from mpkit.runs.ghost import likeness
from mpkit.scenario import Scenario


class CollisionView:
    """Laid out once for a scenario (`lay_out`), and then updated in place."""

    def __init__(self, large: bool = False):
        self.figure = new_figure(9.6, 3.4 if large else 2.9, large)
        self.faces = Pictures("base, change, poison and target", size=208)

    def lay_out(self, scenario: Scenario, steps: int) -> None:
        """Empty axes for a run of so many steps from the scenario's first base to its target."""
        self.figure.clear()
        train, names = scenario.train, scenario.train.classes
        self.base, self.target = scenario.base_images[0], scenario.targets[0]
        true, kind = int(scenario.target_labels[0]), int(train.y[scenario.bases[0]])
        self.crowds = [train.x[train.rows_of(c)[:40]] for c in (true, kind)]
        grid = self.figure.add_gridspec(
            1, 2, left=0.085, right=0.985, top=0.9, bottom=0.18, wspace=0.12
        )
        self.names = names[kind], names[true]
        self.show(self.base)
        self.far = self.figure.add_subplot(grid[0])
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
        space = self.figure.add_subplot(grid[1])
        self.space = views.CloudView(space, "features (two main directions)", looks)

    def show(self, poison: Tensor) -> None:
        """The poison (C, H, W) between its base and the target, and its change, its largest value
        black or white; how like the target it is."""
        kind, true = self.names
        change = poison - self.base
        picture, factor = magnified(change)
        pictures = torch.stack([self.base, picture, poison, self.target])
        words = f"change ×{factor:.1f}\nlike the target: {likeness(change, self.target):.2f}"
        captions = [f"base: {kind}", words if change.any() else "no change yet"]
        captions += ["poison", f"target: {true}"]
        self.faces.show(pictures, captions, [c.replace("\n", ", ") for c in captions])

    def update(
        self,
        poison: Tensor,
        curve: tuple[Sequence, Sequence],
        marks: Sequence,
        count: int | None = None,
    ) -> None:
        """The poison (C, H, W), and how far it has been after every step (steps, distances); those
        after the first `count` are pale."""
        self.show(poison)
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

    def moving(self) -> list:
        """What changes from frame to frame."""
        lines = [*self.kept_lines, *self.head.parts, self.line, self.guess, *self._marks]
        return [*lines, *self.space.groups]

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed step; None leaves it out."""
        legends.show_guess(self.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """`Line`s of other runs behind this one's."""
        legends.show_kept(self.far, self.kept_lines, lines)
