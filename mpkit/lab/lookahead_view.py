"""The picture of `LookaheadLab`: the weights' way out, the gradient's way home, what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from mpkit.evaluation.rates import percent
from mpkit.lab.kit.canvas import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY, font_size, new_figure
from mpkit.lab.kit.legends import (
    KEPT_STYLES,
    guess_line,
    hold,
    legend,
    seen_of,
    show_guess,
    show_kept,
)
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.views import tidy
from mpkit.lab.lookahead_film import STRATEGIES, TARGET, WANTED, Ahead, Check, Cost, Home, Scene
from mpkit.runs.ghost import likeness

FURTHEST = 6
"""The largest K: a picture of each step is at least a hundred pixels wide, or nearly."""
WIDTH, HEIGHT = 10.0, 7.6  # inches, a hundred CSS pixels each where there is room
FILM = (2.2, 0.15, 4.95, 2.3)  # of the losses: left, space on the right, bottom, height
LEFT, SIDE = 0.12, 1.2  # of the target, a poison and what comes home to it: at least 96 pixels
STEPS = (2.95, 1.35)  # of the steps' pictures: bottom, the longest side
COLOURS = dict(zip(STRATEGIES, (RED, BLUE, SKY, GREEN), strict=True))
SMALL = "₀₁₂₃₄₅₆"
NOTHING = np.full((32, 32, 3), 0.5)
UNKNOWN = "this torch has no profiler:", "memory cannot be measured here"


def pushed(gradient: Tensor) -> np.ndarray:
    """−gradient (C, H, W) as a picture (H, W, 3): grey where there is none, scaled by itself."""
    scale = gradient.abs().flatten().quantile(0.995).clamp(min=1e-30)
    picture = (0.5 - 0.5 * gradient / scale).clamp(0, 1).permute(1, 2, 0)
    return picture.expand(*picture.shape[:2], 3).float().numpy()


class LookaheadView:
    """Laid out for a scene and a number of steps, and then updated in place."""

    def __init__(self, large: bool = False):
        self.figure = new_figure(WIDTH, HEIGHT, large)

    def lay_out(self, scene: Scene, steps: int) -> None:
        """Everything as before the first step."""
        self.figure.clear()
        self.steps, self.scene = steps, scene
        self.size = font_size(self.figure, 8)
        self.target = self._picture(LEFT, 6.1, SIDE, f"target: a {TARGET} sign")
        self.poison = self._picture(LEFT, 4.45, SIDE, "a poison")
        self.push = self._picture(LEFT, STEPS[0], SIDE, "−∂L_adv/∂x")
        self._show(self.target, scene.target[0])
        self._lay_out_film()
        self._lay_out_costs()
        self.update((), 0)

    # ── how it is laid out ────────────────────────────────────────────────────────────────────

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self.figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))

    def _picture(self, left: float, bottom: float, side: float, title: str) -> Axes:
        axes = self._axes(left, bottom, side, side)
        axes.set_axis_off()
        axes.set_title(shown(title), fontsize=self.size, loc="left")
        axes.image = axes.imshow(NOTHING, interpolation="nearest")
        axes.note = axes.text(0, -0.04, "", transform=axes.transAxes, va="top", fontsize=self.size)
        return axes

    def _lay_out_film(self) -> None:
        left, right, bottom, height = FILM
        width = WIDTH - left - right
        self.film = self._axes(left, bottom, width, height)
        tidy(self.film, "L_adv as the weights go forward, k = 0 … K training steps →")
        self.film.set_xticks(range(self.steps + 1))
        self.film.axhline(0, color=RED, ls="--", lw=1, label=f"below: called {shown(WANTED)}")
        self.film.set_xlim(-0.3, self.steps + 0.3)
        (self.line,) = self.film.plot([], [], "o-", color=BLACK, ms=6, lw=2, label="this run")
        (self.here,) = self.film.plot([], [], "o", ms=15, mfc="none", mec=ORANGE, mew=3, label="_")
        self.kept_lines = [self.film.plot([], [], color=c, ls=s)[0] for c, s in KEPT_STYLES]
        self.guess = guess_line(self.film)
        unit, (low, side) = width / (self.steps + 0.6), STEPS
        side = min(side, 0.98 * unit)
        self.shares = []
        for k in range(self.steps):
            middle = left + (0.3 + k + 0.5) * unit
            self.shares.append(self._picture(middle - side / 2, low, side, ""))
        self.home = self.figure.text(
            left / WIDTH, (low + side + 0.1) / HEIGHT, "", fontsize=self.size + 2
        )

    def _lay_out_costs(self) -> None:
        self.memory = self._axes(0.62, 0.55, 2.5, 1.45)
        self.time = self._axes(3.85, 0.55, 2.5, 1.45)
        self.checks = self._axes(7.35, 0.55, 2.5, 1.45)
        for axes, title in ((self.memory, "memory (MB)"), (self.time, "time (ms)")):
            tidy(axes, title, "K")
            axes.set(xlim=(0.4, self.steps + 0.6), xticks=range(1, self.steps + 1), ylim=(0, 1))
            axes.bars = {}
        self.room = 2.1 if self.figure.large else 1.6  # for the legend
        self.unknown = self.memory.text(
            0.5, 0.5, "", transform=self.memory.transAxes, ha="center", fontsize=self.size
        )
        patches = [self.memory.bar([0], [0], color=c, label=shown(n)) for n, c in COLOURS.items()]
        self.memory.legend(
            handles=patches, fontsize=self.size - 1, loc="upper left", frameon=False,
            borderaxespad=0, labelspacing=0.15, handlelength=1,
        )  # fmt: skip
        tidy(self.checks, "is it right?", "by the gradient", "by a difference")
        (self.diagonal,) = self.checks.plot([-1, 1], [-1, 1], color=GREY, lw=1)
        (self.points,) = self.checks.plot([], [], "o", color=BLUE, ms=6, mec="white")

    # ── what is shown ─────────────────────────────────────────────────────────────────────────

    def update(self, records: Sequence, which: int) -> None:
        """The film up to the last of these records, for one of the poisons."""
        ahead = [r for r in records if isinstance(r, Ahead)]
        home = [r for r in records if isinstance(r, Home)]
        self._show(self.poison, self.scene.poisons[which], f"poison {which + 1}")
        self._forward(ahead, home)
        self._back(home, which)
        self._measured([r for r in records if isinstance(r, Cost)])
        self._checked([r for r in records if isinstance(r, Check)])

    def _show(self, axes: Axes, picture: Tensor, title: str | None = None) -> None:
        axes.image.set_data(picture.permute(1, 2, 0).float().numpy())
        if title is not None:
            axes.set_title(shown(title), fontsize=self.size, loc="left")

    def _forward(self, ahead: Sequence[Ahead], home: Sequence[Home]) -> None:
        losses = [r.loss for r in ahead]
        self.line.set_data(range(len(ahead)), losses)
        at = home[-1].step if home else len(ahead) - 1
        self.here.set_data(([at], [losses[at]]) if ahead else ((), ()))
        self._limits(losses)
        said = f"P({WANTED}) = {percent(ahead[-1].probability)}" if ahead else ""
        self.target.note.set_text(shown(said))

    def _limits(self, losses: Sequence[float]) -> None:
        seen = [*losses, *seen_of(self.kept_lines), 0.0, 1.0]
        room = 0.15 * (max(seen) - min(seen))
        hold(self.film, min(seen) - room, max(seen) + room)

    def _back(self, home: Sequence[Home], which: int) -> None:
        shares = {r.step: r for r in home}
        for k, axes in enumerate(self.shares):
            found = shares.get(k)
            axes.image.set_visible(found is not None)
            axes.note.set_text(shown(f"|λ{SMALL[k + 1]}| = {found.length:.3g}") if found else "")
            axes.image.set_data(pushed(found.share[which]) if found else NOTHING)
        self.push.image.set_visible(bool(home))
        self.push.note.set_text("")
        self.push.image.set_data(NOTHING)
        if home:
            total = sum(r.share[which] for r in home)
            self.push.image.set_data(pushed(total))
            like = toward(self.scene, home, which)
            self.push.note.set_text(f"cosine with the\ntarget: {like:.2f}")
        words = "← the gradient comes home: −∂L_adv/∂x, step by step"
        self.home.set_text(shown(words) if home else "")
        self.push.title.set_visible(bool(home))

    def _measured(self, found: Sequence[Cost]) -> None:
        for axes, name in ((self.memory, "megabytes"), (self.time, "milliseconds")):
            values = {(r.strategy, r.steps): getattr(r, name) for r in found}
            values = {place: v for place, v in values.items() if v is not None}
            for place in [p for p in axes.bars if p not in values]:
                axes.bars.pop(place).remove()
            for strategy, k in [place for place in values if place not in axes.bars]:
                at = k + 0.2 * (STRATEGIES.index(strategy) - 1.5)
                bar = axes.bar([at], [values[strategy, k]], 0.18, color=COLOURS[strategy])
                axes.bars[strategy, k] = bar
            axes.set_ylim(
                0, max(values.values(), default=1.0) * (self.room if axes is self.memory else 1.1)
            )
        words = UNKNOWN if any(r.megabytes is None for r in found) else ()
        self.unknown.set_text("\n".join(shown(line) for line in words))

    def _checked(self, found: Sequence[Check]) -> None:
        most = max((abs(v) for r in found for v in r), default=1.0) or 1.0
        unit = 10.0 ** math.floor(math.log10(most))
        self.points.set_data(*([r[axis] / unit for r in found] for axis in (0, 1)))
        far = 1.15 * most / unit
        in_units = f" (in {unit:.0e})" if found else ""
        self.checks.set(xlabel=f"by the gradient{in_units}", ylabel="by a difference")
        self.diagonal.set_data([-far, far], [-far, far])
        self.checks.set(xlim=(-far, far), ylim=(-far, far))

    def show_guess(self, guess: float | None) -> None:
        """Mark the guessed step; None leaves it out."""
        show_guess(self.guess, guess)

    def compare(self, lines: Sequence) -> None:
        """`Line`s of other runs behind this one's losses."""
        show_kept(self.film, self.kept_lines, lines)
        self._limits(self.line.get_ydata())
        legend(self.film)


def toward(scene: Scene, home: Sequence[Home], which: int) -> float:
    """How like the target −gradient is, as far as it is home: a cosine."""
    return likeness(-sum(r.share[which] for r in home), scene.target[0])
