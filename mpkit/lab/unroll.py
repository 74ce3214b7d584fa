"""UnrollLab: how K training steps answer to a poison that is moved (slides 5–6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from mpkit.lab.controls import Number
from mpkit.lab.knobs import Knobs
from mpkit.lab.panel import Lab, Question
from mpkit.lab.runner import Phase
from mpkit.lab.share import decode, differences, encode, merged
from mpkit.lab.toy import make_toy
from mpkit.lab.unrollview import EDGE, UnrollView
from mpkit.lab.views import show_guess

FURTHEST = 10
"""The largest K."""


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
        if not 0 <= self.steps <= FURTHEST:
            raise ValueError(f"K must lie between 0 and {FURTHEST}, not {self.steps}")
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
        self.records: list[Move] = []
        self._start()
        self.view = UnrollView(len(self.poisons), self.moves, FURTHEST, large)
        self._refresh()
        self.assemble(self.view.figure, self._controls(), question)

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
        self._pick(self.which + 1)  # they are back where they began
        self.kept()  # before the limits are set
        self._refresh()

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

    def guessed(self) -> None:
        show_guess(self.view.guess, self.guess)

    def kept(self) -> None:
        self.view.compare([line for line in (self.ghost, *self.named) if line])

    def _start(self) -> None:
        self.toy = make_toy(self.knobs().seed)
        self.poisons: Tensor = self.toy.poisons.clone()

    def _refresh(self) -> None:
        """Compute what the sliders ask for, and bring the picture up to date."""
        look = self.knobs()
        slope, path = self.toy.look_ahead(self.poisons, look.steps, look.lr)
        self.arrows = -slope
        with torch.no_grad():
            self.losses = [float(self.toy.adversarial_loss(p)) for p in path]
        longest = float(self.arrows.norm(dim=1).max())
        self.view.points(self.toy, self.poisons, self.arrows)
        self.view.trained(path[-1], f"after K = {look.steps} steps; longest arrow {longest:.2g}")
        self.view.curves(self.losses, self.curve(), getattr(self, "marks", []))

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> list:
        look = self.knobs()
        number, turn = (lambda *a, **k: Number(*a, say=self.say, **k)), self._turn
        self.controls = {
            "steps": number(
                "K, steps ahead", look.steps, 0, FURTHEST, lambda v: self._turn(steps=v)
            ),
            "lr": number("learning rate", look.lr, 0.05, 2, lambda v: turn(lr=v), step=0.05),
            "epsilon": number("ε", look.epsilon, 0, 2, lambda v: turn(epsilon=v), step=0.1),
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
            there = self.poisons[self.which, axis].numpy()
            self.controls[name].show(float(str(there)))  # no more digits than it has

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
