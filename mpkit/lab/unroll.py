"""UnrollLab: how K training steps answer to a poison that is moved (slides 5–6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from mpkit.lab.canvas import BLACK, BLUE, ORANGE, RED, font_size, new_figure
from mpkit.lab.controls import Number
from mpkit.lab.knobs import Knobs
from mpkit.lab.panel import Lab, Question
from mpkit.lab.runner import Phase
from mpkit.lab.share import decode, differences, encode, merged
from mpkit.lab.toy import make_toy, network
from mpkit.lab.views import KEPT_STYLES, guess_line, show_guess, show_kept, show_marks, tidy

GRID, EDGE = 60, 2.4


@dataclasses.dataclass(frozen=True)
class Look:
    """How far ahead, and how far a poison may go. Raises ValueError for what makes no sense."""

    steps: int = 3
    lr: float = 0.5
    epsilon: float = 0.6
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.steps, int) or not isinstance(self.seed, int):
            raise ValueError(f"K and seed must be whole numbers, not {self.steps}, {self.seed}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"the seed must lie between 0 and 2**63 - 1, not {self.seed}")
        if not 0 <= self.steps <= 10:
            raise ValueError(f"K must lie between 0 and 10, not {self.steps}")
        if not 0 < self.lr <= 2 or not 0 <= self.epsilon <= 2:
            raise ValueError("learning rate and ε must lie between 0 and 2")


@dataclasses.dataclass(frozen=True)
class Move:
    """One step along the arrows: L_adv(w_K) before it, and the settings in force."""

    step: int
    loss: float
    steps_ahead: int
    lr: float
    epsilon: float


class UnrollLab(Lab):
    """Points in the plane, the decision boundary K steps ahead, and arrows −∂L_adv/∂x.

    Every slider redraws at once. ▶ and ⏭ move all poisons along their arrows, at most ε (per
    coordinate) away from where they began. `given`: fields of `Look`.
    """

    name, unit, moves = "unroll", "move", 25

    def __init__(self, question: Question | None = None, large: bool = False, **given):
        self.knobs = Knobs(Look(**given))
        self.figure = new_figure(9, 4.4, large)
        self.records: list[Move] = []
        self._start()
        self._lay_out()
        self.assemble(self.figure, self._controls(), question)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[Move]:
        for step in range(1, self.moves + 1):
            look = self.knobs()
            with self.canvas.lock:  # the hand may move a poison in the same moment
                slope, path = self.toy.look_ahead(self.poisons, look.steps, look.lr)
                norm = slope.norm(dim=1, keepdim=True).clamp(min=1e-9)
                moved = self.poisons - 0.08 * slope / norm * (slope.abs().max() > 0)
                low, high = self.toy.poisons - look.epsilon, self.toy.poisons + look.epsilon
                self.poisons = torch.minimum(torch.maximum(moved, low), high)
                loss = float(self.toy.adversarial_loss(path[-1]))
            yield Move(step, loss, look.steps, look.lr, look.epsilon)

    def take(self, item: Move) -> None:
        if self.records:
            for text in self._changes(self.records[-1], item):
                self.mark(item.step - 0.5, text)
        self.records.append(item)
        self._refresh()

    def clear(self) -> None:
        self.records = []
        self._start()
        self._refresh()
        self.kept()

    def total(self) -> int:
        return self.moves

    def curve(self):
        return [r.step for r in self.records], [r.loss for r in self.records]

    def describe(self) -> str:
        look = self.knobs()
        says = "class 1, as the attacker wants" if self.losses[-1] < 0 else "class 0, rightly"
        longest = float(self.arrows.norm(dim=1).max())
        return (
            f"Points of two classes, {len(self.poisons)} poisons. After K = {look.steps} steps at "
            f"learning rate {look.lr:g} the adversarial loss is {self.losses[-1]:.2f} (it was "
            f"{self.losses[0]:.2f}): the target is called {says}. The longest arrow: {longest:.2f}."
            + (f" {len(self.records)} moves along the arrows." if self.records else "")
        )

    @staticmethod
    def _changes(before: Move, now: Move) -> list[str]:
        pairs = (("K", "steps_ahead"), ("lr", "lr"), ("ε", "epsilon"))
        return [
            f"{name} {getattr(before, f):g} → {getattr(now, f):g}"
            for name, f in pairs
            if getattr(before, f) != getattr(now, f)
        ]

    def _changed(self) -> None:
        super()._changed()
        if self.runner.phase.ended or self.runner.phase is Phase.PAUSED:
            self._pick(self.which + 1)  # the moves have taken it elsewhere

    # ── the picture ───────────────────────────────────────────────────────────────────────────

    def _start(self) -> None:
        self.toy = make_toy(self.knobs().seed)
        self.poisons: Tensor = self.toy.poisons.clone()

    def _lay_out(self) -> None:
        grid = self.figure.add_gridspec(
            2, 2, width_ratios=(3, 2), left=0.06, right=0.98, top=0.92, bottom=0.12, wspace=0.25,
            hspace=0.9 if self.figure.large else 0.6,
        )  # fmt: skip
        self.plane = self.figure.add_subplot(grid[:, 0])
        self.ahead = self.figure.add_subplot(grid[0, 1])
        self.history = self.figure.add_subplot(grid[1, 1])
        tidy(self.plane, "arrows: −∂L_adv/∂x")
        tidy(self.ahead, "looking ahead", "training steps k", "L_adv(w_k)")
        tidy(self.history, "following the arrows", "move", "L_adv(w_K)")
        self.ground = self.plane.imshow(
            torch.zeros(GRID, GRID).numpy(), extent=(-EDGE, EDGE, -EDGE, EDGE), origin="lower",
            vmin=0, vmax=1, cmap="RdBu_r", alpha=0.45, interpolation="bilinear", aspect="auto",
        )  # fmt: skip
        self.clean = [
            self.plane.plot([], [], marker, color=c, ms=5, mec="white", label=name)[0]
            for marker, c, name in (("s", BLUE, "class 0"), ("o", RED, "class 1"))
        ]
        (self.bad,) = self.plane.plot([], [], "D", color=ORANGE, ms=9, mec=BLACK, label="poisons")
        (self.mark_target,) = self.plane.plot(
            [], [], "*", color=BLUE, ms=17, mec=BLACK, label="target"
        )
        spot = [0.0] * len(self.poisons)
        self.quiver = self.plane.quiver(
            spot, spot, spot, spot, color=BLACK, angles="xy", scale_units="xy", scale=1, width=0.006
        )
        self.plane.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE))
        self.plane.legend(fontsize=font_size(self.figure, 8), loc="lower left", ncols=2)
        for axes in (self.ahead, self.history):
            axes.axhline(0, color=RED, ls="--", lw=1)
        (self.look_line,) = self.ahead.plot([], [], "o-", color=BLACK, ms=4)
        (self.move_line,) = self.history.plot([], [], color=BLACK, lw=2, label="this run")
        self.kept_lines = [self.history.plot([], [], color=c, ls=s)[0] for c, s in KEPT_STYLES]
        self.guess_line, self.mark_artists = guess_line(self.history), []
        self._refresh()

    def _refresh(self) -> None:
        """Compute what the sliders ask for, and bring the picture up to date."""
        look, toy = self.knobs(), self.toy
        slope, path = toy.look_ahead(self.poisons, look.steps, look.lr)
        self.arrows = -slope
        with torch.no_grad():
            self.losses = [float(toy.adversarial_loss(p)) for p in path]
            line = torch.linspace(-EDGE, EDGE, GRID)
            spots = torch.cartesian_prod(line, line).flip(1)
            self.ground.set_data(
                network(path[-1], spots).softmax(-1)[:, 1].view(GRID, GRID).numpy()
            )
        for label, artist in enumerate(self.clean):
            artist.set_data(*toy.x[toy.y == label].T.numpy())
        self.bad.set_data(*self.poisons.T.numpy())
        self.mark_target.set_data(*toy.target.T.numpy())
        # Arrows are drawn with the longest at 0.7; its true length is in the title.
        longest = float(self.arrows.norm(dim=1).max())
        shown = 0.7 * self.arrows / max(longest, 1e-9)
        self.quiver.set_offsets(self.poisons.numpy())
        self.quiver.set_UVC(*shown.T.numpy())
        self.plane.set_title(
            f"after K = {look.steps} steps; longest arrow {longest:.2g}",
            loc="left", fontsize=font_size(self.figure, 10),
        )  # fmt: skip
        self._curves()

    def _curves(self) -> None:
        self.look_line.set_data(range(len(self.losses)), self.losses)
        self.ahead.set_xlim(-0.3, 10.3)
        self.move_line.set_data(*self.curve())
        self.history.set_xlim(0, self.moves + 0.5)
        for axes, values in ((self.ahead, self.losses), (self.history, self.curve()[1] or [0, 1])):
            low, high = min(*values, 0, -0.2), max(*values, 0, 0.2)
            axes.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
        show_marks(self.history, self.mark_artists, getattr(self, "marks", []))

    def guessed(self) -> None:
        show_guess(self.guess_line, self.guess)

    def kept(self) -> None:
        show_kept(self.history, self.kept_lines, [k for k in (self.ghost, *self.named) if k])

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> list:
        look = self.knobs()
        number = lambda *a, **k: Number(*a, say=self.say, **k)  # noqa: E731
        self.controls = {
            "steps": number("K, steps ahead", look.steps, 0, 10, lambda v: self._turn(steps=v)),
            "lr": number("learning rate", look.lr, 0.05, 2, lambda v: self._turn(lr=v), step=0.05),
            "epsilon": number("ε", look.epsilon, 0, 2, lambda v: self._turn(epsilon=v), step=0.1),
            "which": number("poison", 1, 1, len(self.poisons), self._pick),
            "x": number("its x", 0, -EDGE, EDGE, lambda v: self._place(0, v), step=0.05),
            "y": number("its y", 0, -EDGE, EDGE, lambda v: self._place(1, v), step=0.05),
            "seed": number("seed", look.seed, 0, 99, self._seed),
        }
        self._pick(1)
        return [c.widget for c in self.controls.values()]

    def _turn(self, **values: object) -> None:
        self.knobs.turn(**values)
        self._redraw()

    def _redraw(self) -> None:
        if self.runner.phase not in (Phase.RUNNING, Phase.PAUSING):  # else its next step draws it
            with self.canvas.lock:
                self._refresh()
                self.canvas.draw()

    def _pick(self, which: int) -> None:
        self.which = which - 1
        for axis, name in enumerate("xy"):
            self.controls[name].show(round(float(self.poisons[self.which, axis]), 2))

    def _place(self, axis: int, value: float) -> None:
        with self.canvas.lock:
            self.poisons = self.poisons.clone()
            self.poisons[self.which, axis] = value
        self._redraw()

    def _seed(self, seed: int) -> None:
        if self.runner.phase is not Phase.READY:
            raise ValueError("Other points need a fresh start: ↺ first.")
        self.knobs.turn(seed=seed)
        self._start()
        self._pick(self.which + 1)
        self._redraw()

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def code(self) -> str:
        usual = dataclasses.asdict(Look())
        return encode(self.name, differences(dataclasses.asdict(self.knobs()), usual))

    def use_code(self, code: str) -> None:
        values = merged(dataclasses.asdict(Look()), decode(self.name, code))
        try:
            look = Look(**values)
        except TypeError as error:
            raise ValueError(f"This code holds settings that do not fit: {error}") from error
        self.knobs.put(look)
        for name in ("steps", "lr", "epsilon", "seed"):
            self.controls[name].show(getattr(look, name))
        self.clear()
        self.canvas.draw()
