"""UnrollLab: how K training steps answer to a poison that is moved (slides 5–6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

import ipywidgets as widgets
import torch
from torch import Tensor

from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.dials import dial, dials, show
from mpkit.lab.kit.handles import Handles
from mpkit.lab.kit.keeping import Sharing
from mpkit.lab.kit.knobs import Knobs
from mpkit.lab.kit.panel import Lab, Question
from mpkit.lab.kit.runner import Phase, Put
from mpkit.lab.unroll_toy import make_toy
from mpkit.lab.unroll_view import EDGE, UnrollView, lengths
from mpkit.setting import Dial, Live, changes, declared, setting, settings_of

FURTHEST = 10
"""The largest K."""


@declared
class Look:
    """How far ahead, and how far a poison may go. Raises ValueError for what makes no sense."""

    unroll_steps: int = setting(
        3, "steps ahead", (0, FURTHEST), Live("K, steps ahead", "K", 0, FURTHEST)
    )
    lr: float = setting(
        0.5, "learning rate", dial=Live("learning rate", "lr", 0.05, 2, 0.05), above=0, high=2
    )
    epsilon: float = setting(
        0.6, "how far a poison may go, per coordinate", (0, 2), Live("ε", "ε", 0, 2, 0.1)
    )
    seed: int = setting(0, "decides the points", (0, 2**63 - 1), Dial("seed", "", 0, 99))


LOOK = settings_of(Look)


@dataclasses.dataclass(frozen=True)
class Move:
    """One step along the arrows: L_adv(w_K) before it, and the settings in force."""

    step: int
    loss: float
    unroll_steps: int
    lr: float
    epsilon: float


class Scene(NamedTuple):
    """All that the picture shows: after how many moves, the settings, and the poisons (P, 2)."""

    count: int
    look: Look
    poisons: Tensor


class UnrollLab(Sharing, Lab):
    """Points in the plane, the decision boundary K steps ahead, and arrows −∂L_adv/∂x.

    Every slider redraws at once, and the poisons can be dragged. Whoever moves them, the hand or ▶
    and ⏭ along their arrows, they stay at most ε (per coordinate) away from where they began: in
    the boxes that are drawn. `given`: fields of `Look`.
    """

    name, unit, moves = "unroll", "move", 25
    old_names = MappingProxyType({"steps": "unroll_steps"})

    def __init__(self, question: Question | None = None, large: bool = False, **given):
        self.knobs = Knobs(Look(**given))
        self.records: list[Move] = []
        self._start()
        self.view = UnrollView(len(self.poisons), self.moves, FURTHEST, large)
        names = [f"poison {i + 1}" for i in range(len(self.poisons))]
        self.handles = Handles(self.view.plane, names, self._dragged)
        self.show_frame(self.frame())
        live = self._make_controls()
        self.assemble(self.view.figure, live, question)
        self.canvas.drawn = self._show_handles
        self._show_handles()

    def framed(self, picture: widgets.Widget) -> widgets.Widget:
        return self.handles.over(picture)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[Move]:
        for step in range(1, self.moves + 1):
            move = yield Put(lambda step=step: self._move(step))
            yield move

    def _move(self, step: int) -> Move:
        """Move all poisons, from where they are at this moment: the hand may have moved one, and
        the one that it holds stays in it."""
        look = self.knobs()
        with self.lock:
            slope, path = self.toy.look_ahead(self.poisons, look.unroll_steps, look.lr)
            norm = slope.norm(dim=1, keepdim=True).clamp(min=1e-9)
            moved = self.poisons - 0.08 * slope / norm * (slope.abs().max() > 0)
            if (held := self.handles.held) is not None:
                moved[held] = self.poisons[held]
            self.poisons = self._held(moved)
            loss = float(self.toy.adversarial_loss(path[-1]))
        return Move(step, loss, look.unroll_steps, look.lr, look.epsilon)

    def take(self, item: Move) -> None:
        for text in changes(self.records[-1], item, LOOK.values()) if self.records else ():
            self.mark(item.step - 0.5, text)
        self.records.append(item)

    def frame(self) -> Scene:
        return Scene(len(self.records), self.knobs(), self.poisons)

    def show_frame(self, frame: Scene) -> None:
        """Compute what it asks for, and bring the picture up to date."""
        if self.live:  # the hand may have turned or moved something since
            frame = self.frame()
        self.shown, look = frame, frame.look
        slope, path = self.toy.look_ahead(frame.poisons, look.unroll_steps, look.lr)
        self.arrows = -slope
        with torch.no_grad():
            self.losses = [float(self.toy.adversarial_loss(p)) for p in path]
        self.view.points(self.toy, frame.poisons, self.arrows)
        self.view.bounds(self._boxes(look))
        self.view.trained(path[-1], f"after K = {look.unroll_steps} steps")
        records = self.so_far(self.records, frame.count)
        curve = [r.step for r in records], [r.loss for r in records]
        self.view.curves(self.losses, curve, getattr(self, "marks", []), frame.count)

    def scrub(self, step: int) -> None:
        super().scrub(step)
        self._pick(self.which + 1)

    def clear(self) -> None:
        self.records = []
        self.handles.held = None  # or a page that was closed would hold it for ever
        self._start()
        self._pick(self.which + 1)  # they are back where they began
        self.kept()  # before the limits are set
        self.show_frame(self.frame())

    def total(self) -> int:
        return self.moves

    def moving(self) -> list:
        return self.view.moving()

    def curve(self):
        return [r.step for r in self.records], [r.loss for r in self.records]

    def describe(self) -> str:
        look, moves = self.shown.look, self.shown.count
        says = "class 1, as the attacker wants" if self.losses[-1] < 0 else "class 0, rightly"
        return (
            f"Points of two classes, {len(self.poisons)} poisons. After K = {look.unroll_steps} "
            f"steps at learning rate {look.lr:g} the adversarial loss is {self.losses[-1]:.2f} "
            f"(it was {self.losses[0]:.2f}): the target is called {says}. "
            f"{', '.join(lengths(self.arrows)).capitalize()}."
            + (f" {moves} moves along the arrows." if moves else "")
        )

    def _changed(self) -> None:
        super()._changed()
        if self.runner.phase.ended or self.runner.phase is Phase.PAUSED:
            self._pick(self.which + 1)  # the moves have taken it elsewhere

    def _boxes(self, look: Look) -> Tensor:
        """How far each poison may go, (P, 4): left, bottom, right, top."""
        start, epsilon = self.toy.poisons, look.epsilon
        return torch.cat([start - epsilon, start + epsilon], 1)

    def _held(self, poisons: Tensor) -> Tensor:
        """Within their boxes."""
        low, high = self._boxes(self.knobs()).chunk(2, 1)
        return torch.minimum(torch.maximum(poisons, low), high)

    def _start(self) -> None:
        self.toy = make_toy(self.knobs().seed)
        self.poisons: Tensor = self.toy.poisons.clone()

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _make_controls(self) -> list:
        number, look = (lambda *a, **k: Number(*a, say=self.say, **k)), self.knobs()
        live = {k: s for k, s in LOOK.items() if s.live}
        self.controls = {
            **dials(live, look, self.turn, self.say),
            "which": number("poison", 1, 1, len(self.poisons), self._pick),
            "x": number("its x", 0, -EDGE, EDGE, lambda v: self._place(0, v), step=0.05),
            "y": number("its y", 0, -EDGE, EDGE, lambda v: self._place(1, v), step=0.05),
            "seed": dial(LOOK["seed"], look.seed, lambda v: self.later(seed=v), self.say),
        }
        self._pick(1)
        return [c.widget for c in self.controls.values()]

    def show_controls(self) -> None:
        show(self.controls, vars(self.knobs()), LOOK)

    def turn(self, **values: object) -> None:
        self.knobs.turn(**values)
        with self.lock:
            self.poisons = self._held(self.poisons)
        self._redraw(self.redraw)
        self._pick(self.which + 1)

    def check(self, values: dict[str, object]) -> None:
        dataclasses.replace(self.knobs(), **values)

    def apply(self, values: dict[str, object]) -> None:
        self.knobs.turn(**values)

    def _redraw(self, draw: Callable[[], object]) -> None:
        if self.runner.phase not in (Phase.RUNNING, Phase.PAUSING):  # else its next step draws it
            with self.canvas.lock:
                self.follow()  # who changes something is in the present
                self.show_frame(self.frame())
                draw()

    def _pick(self, which: int) -> None:
        self.which = which - 1
        for axis, name in enumerate("xy"):
            self.controls[name].show(self._where(axis))

    def _where(self, axis: int) -> float:
        there = float(self._scene().poisons[self.which, axis])
        return round(there, self.controls["x"].digits)

    def _place(self, axis: int, value: float) -> float:
        """Put the poison picked there, or as near as its box allows: where it is then."""
        place = self.poisons[self.which].tolist()
        place[axis] = value
        self._put(self.which, place)
        return self._where(axis)

    def _scene(self) -> Scene:
        """What is looked at; in a run, it may be drawn a little later."""
        return self.frame() if self.live else self.shown

    def _put(self, which: int, place: Sequence[float]) -> None:
        with self.canvas.lock, self.lock:
            self.follow()
            poisons = self.poisons.clone()
            poisons[which] = torch.tensor(place)
            self.poisons = self._held(poisons)
        self._redraw(self.canvas.draw)
        self._show_handles()  # also where the next step draws the picture

    # ── the hand ──────────────────────────────────────────────────────────────────────────────

    def _dragged(self, which: int, place: tuple[float, float] | None) -> None:
        """A poison was taken by hand, and maybe put somewhere."""
        if place:
            self._put(which, place)
        self.controls["which"].show(which + 1)
        self._pick(which + 1)

    def _show_handles(self) -> None:
        scene = self._scene()
        self.handles.show(scene.poisons.tolist(), self._boxes(scene.look).tolist())
