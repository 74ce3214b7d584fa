"""The picture of `DynamicsLab`: two runs in losses, probabilities, weight space and features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from mpkit.finetuning import features
from mpkit.functional import State, own
from mpkit.lab.kit import legends, views
from mpkit.lab.kit.canvas import BLACK, BLUE, GREEN, ORANGE, RED, font_size, new_figure
from mpkit.lab.kit.letters import shown
from mpkit.lab.landscape import Losses, flatten, landscape, plane_through
from mpkit.lab.wish import wish_of
from mpkit.scenario import Scenario

TENTHS = (0, 0.2, 0.4, 0.6, 0.8, 1)
LOOKS = ((BLUE, "--", "clean twin"), (RED, "-", "poisoned twin"))


class TwinsView:
    """Six small plots of a clean and a poisoned run, updated in place."""

    def __init__(self, scenario: Scenario, epochs: int, large: bool = False):
        self.figure = new_figure(9.6, 6.2, large)
        self.lay_out(scenario, epochs)

    def lay_out(self, scenario: Scenario, epochs: int) -> None:
        """Empty axes for a run of so many epochs."""
        self.scenario, self.epochs = scenario, epochs
        self.figure.clear()
        self.wish = wish_of(scenario)
        grid = self.figure.add_gridspec(
            2, 12, left=0.065, right=0.985, top=0.94, bottom=0.085, hspace=0.42, wspace=9
        )
        loss, accuracy, target = (
            self.figure.add_subplot(grid[0, 4 * i : 4 * i + 4]) for i in range(3)
        )
        self.plane = self.figure.add_subplot(grid[1, :6])
        views.tidy(loss, "training loss", "epoch")
        views.tidy(accuracy, "accuracy, other pictures", "epoch")
        views.tidy(target, f"the target: P({self.wish.wanted})", "epoch")
        views.tidy(self.plane, "paths through weight space")
        self.axes, self.lines, self.heads = (loss, accuracy, target), [], []
        for axes in self.axes:
            axes.set_xlim(0, epochs)
            self.lines.append(
                [axes.plot([], [], color=c, ls=s, lw=2, label=shown(n))[0] for c, s, n in LOOKS]
            )
            self.heads.append([views.Playhead(axes) for _ in LOOKS])
        legends.hold(loss, 0, 1.1 * math.log(len(scenario.train.classes)))  # who only guesses
        accuracy.set_ylim(0, 1.02)
        target.set_yticks(TENTHS)
        legends.hold(target, -0.03, 1.03)
        self.kept = [target.plot([], [], color=c, ls=s, lw=1.3)[0] for c, s in legends.KEPT_STYLES]
        self.guess = legends.guess_line(target)
        legends.legend(loss)
        look = {"ha": "right", "va": "bottom", "fontsize": font_size(self.figure, 8)}
        self.poisons = self.figure.text(0.985, 0.005, "", **look)
        self._marks: list = []
        self._prepare_plane()
        looks = (
            ("s", BLUE, 4, self.wish.true),
            ("o", GREEN, 4, self.wish.wanted),
            ("D", ORANGE, 4, "poisons"),
            ("*", RED, 15, "target"),
        )
        space = self.figure.add_subplot(grid[1, 6:])
        self.space = views.CloudView(space, "the poisoned twin's features", looks)
        self.space.groups[2].set_markerfacecolor("none")  # what lies under the poisons shows

    def _prepare_plane(self) -> None:
        self.plane.set_xticks([])
        self.plane.set_yticks([])
        self.paths = [
            self.plane.plot([], [], marker=".", color=c, ls=s, lw=1.8)[0] for c, s, _ in LOOKS
        ]
        self.ends = [
            self.plane.plot([], [], m, color=c, ms=9, mec=BLACK)[0]
            for m, c in (("s", BLUE), ("o", RED))
        ]
        (self.begin,) = self.plane.plot([], [], "X", color=BLACK, ms=9)
        self.hills: list = []
        # Both twins after every epoch, in the plane; its corners; and the landscape over it. Whole,
        # as it may be drawn while another one is made.
        self.ground = np.empty((0, 2, 2)), (0, 1, 0, 1), None
        self._land: tuple | None = None  # that was drawn

    def say(self, words: str) -> None:
        """Words over the first plot while there is nothing to plot."""
        self.axes[0].set_title(shown(words), loc="left", fontsize=font_size(self.figure, 9))

    def tell(self, poisons: str) -> None:
        """Which poisons the twin trains on, under the plots."""
        self.poisons.set_text(shown(poisons))

    @staticmethod
    def flat(state: State) -> Tensor:
        """The parameters of both twins as rows (2, D), on the CPU."""
        return vmap(flatten)(state).cpu()

    def update(self, records: Sequence, marks: Sequence, count: int | None = None) -> None:
        """Curves up to the last record, pale after `count` of them, and paths up to there; the
        plane as it was last followed, with its hills."""
        epochs, names = [r.epoch for r in records], ("losses", "accuracies", "adversarial")
        for lines, heads, name in zip(self.lines, self.heads, names, strict=True):
            for twin, line in enumerate(lines):
                values = [getattr(r, name)[twin] for r in records]
                line.set_data(epochs[:count], values[:count])
                heads[twin].put(epochs, values, count)
        losses = [loss for r in records[1:] for loss in r.losses if math.isfinite(loss)]
        if losses:
            legends.hold(self.axes[0], 0, 1.08 * max(losses))
        self.axes[0].set_title("training loss", loc="left", fontsize=font_size(self.figure, 10))
        views.show_marks(self.axes[2], self._marks, marks)
        at, corners, land = self.ground
        self.plane.set(xlim=corners[:2], ylim=corners[2:])
        if land is not self._land:
            self._draw_hills(land)
        for twin in range(2):
            self.paths[twin].set_data(*at[:count, twin].T)
            self.ends[twin].set_data(*at[:count][-1:, twin].T)
        self.begin.set_data([0], [0])

    def follow(self, path: Sequence[Tensor]) -> None:
        """Lay the plane through the start and the present ends of the path, a (2, D) an epoch."""
        whole = [both for both in path if both.isfinite().all()]  # until one of them diverged
        path = torch.stack(whole or list(path[:1]))
        start, ends = path[0, 0], path[-1]
        self.flatland = plane_through(start, ends[0], ends[1])
        at = self.flatland.coordinates(path)
        low, high = at.flatten(0, 1).amin(0), at.flatten(0, 1).amax(0)
        room = 0.25 * (high - low).clamp(min=1e-3) + 0.1 * (high - low).max()
        corners = [
            float(v)
            for v in (low[0] - room[0], high[0] + room[0], low[1] - room[1], high[1] + room[1])
        ]
        self.ground = at.numpy(), corners, None

    def contours(self, losses: Losses, like: State) -> None:
        """The training loss (grey) and L_adv (coloured lines) over the plane that was followed
        last, for the next update; `like` is any one model."""
        at, corners, _ = self.ground
        self.ground = at, corners, landscape(losses, like, self.flatland, corners)

    def _draw_hills(self, land: tuple | None) -> None:
        while self.hills:
            self.hills.pop().remove()
        self._land = land
        if land is None:
            return
        xs, ys, train, adv = land
        ground = self.plane.contourf(
            xs, ys, train.log().numpy(), 10, cmap="Greys", alpha=0.55, zorder=0
        )
        lines = self.plane.contour(
            xs, ys, adv.numpy(), [-4, -2, 0, 2, 4], colors=ORANGE, linewidths=1
        )
        lines.set_linewidths([2.5 if v == 0 else 1 for v in lines.levels])
        names = self.plane.clabel(lines, fontsize=font_size(self.figure, 7), fmt="%g")
        self.hills += [*names, ground, lines]
        self.plane.set_title(
            "weights; grey: high loss; lines: L_adv",
            loc="left",
            fontsize=font_size(self.figure, 10),
        )

    @views.one_blas_thread
    def places(self, network: nn.Module, state: State, poisons: Tensor) -> np.ndarray | None:
        """Two classes, the poisons and the target in the features of one model, (N, 2); None where
        that has diverged.

        Across: the discriminant of the two classes (LDA); up: the rest's main direction (PCA).
        """
        from sklearn.decomposition import PCA
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        train = self.scenario.train
        rows = train.rows_of(self.wish.label), self.wish.rows(train)
        groups = [train.x[some[:40]] for some in rows]
        groups += [poisons[:40], self.scenario.targets[:1]]
        self.sizes = [len(g) for g in groups]
        with torch.no_grad():
            found = features(own(network), state, torch.cat(groups))
        if not found.isfinite().all():
            return None
        rows = found.cpu().double().numpy()
        known = rows[: len(groups[0]) + len(groups[1])]
        labels = np.repeat([0, 1], [len(g) for g in groups[:2]])
        across = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.3).fit(known, labels)
        axis = across.coef_[0] / (np.linalg.norm(across.coef_[0]) + 1e-12)
        left = known - np.outer(known @ axis, axis)
        up = PCA(1, random_state=0).fit(left)
        return np.column_stack(
            [rows @ axis, up.transform(rows - np.outer(rows @ axis, axis))[:, 0]]
        )

    def put(self, places: np.ndarray) -> None:
        """Show `places`."""
        self.space.update(places, self.sizes)

    def moving(self) -> list:
        """What changes from frame to frame."""
        lines = [line for some in self.lines for line in some]
        heads = [part for some in self.heads for head in some for part in head.parts]
        paths = [*self.paths, *self.ends, self.begin]
        return [*self.kept, *heads, *lines, self.guess, *self._marks, *paths, *self.space.groups]

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed epoch; None leaves it out."""
        legends.show_guess(self.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """`Line`s of other runs behind the target's probability."""
        if lines:
            legends.show_kept(self.axes[2], self.kept, lines)
