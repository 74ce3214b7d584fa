"""LookaheadLab: K training steps there, and their gradient home again (slide 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from mpkit.evaluation.rates import percent
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.dials import dials, show
from mpkit.lab.kit.keeping import Sharing
from mpkit.lab.kit.knobs import Knobs
from mpkit.lab.kit.measure import TIMES, begin
from mpkit.lab.kit.pace import resting
from mpkit.lab.kit.panel import Lab, Question
from mpkit.lab.lookahead_film import (
    DIRECTIONS,
    POISONS,
    STRATEGIES,
    TARGET,
    WANTED,
    Ahead,
    Check,
    Cost,
    Home,
    checks,
    costs,
    make_scene,
    there_and_back,
)
from mpkit.lab.lookahead_view import FURTHEST, LookaheadView, toward
from mpkit.setting import Dial, Live, declared, setting, settings_of


@declared
class Journey:
    """How far, and with what. Raises ValueError for what makes no sense."""

    pace: float = setting(
        0.5, "seconds between two steps of the film", (0, 10), Live("seconds a step", "", 0, 2, 0.1)
    )
    unroll_steps: int = setting(
        5, "steps ahead", (1, FURTHEST), Dial("K, steps ahead", "K", 1, FURTHEST)
    )
    lr: float = setting(
        0.05, "learning rate", dial=Dial("learning rate", "lr", 0.05, 1, 0.05), above=0, high=1
    )
    digits: int = setting(
        6, "differences are taken over 10 to the minus so many", (1, 12),
        Dial("h: 10 to the minus", "h", 1, 12),
    )  # fmt: skip
    network: str = setting(
        "mlp", "what is trained", dial=Dial("network"), choices=("mlp", "convnet-small")
    )
    seed: int = setting(0, "decides the rest", (0, 2**63 - 1), Dial("seed", "", 0, 99))


JOURNEY = settings_of(Journey)


class LookaheadLab(Sharing, Lab):
    """The weights go forward step by step, and the gradient of the adversarial loss comes home step
    by step, to the pixels of the poisons. Then it is compared with finite differences, and for each
    strategy the time and the memory of 1 … K steps are measured. `given`: fields of `Journey`.
    """

    name, unit, lead = "lookahead", "step", 1

    def __init__(self, question: Question | None = None, large: bool = False, **given):
        self.knobs, self.which = Knobs(Journey(**given)), 0
        self.records: list[Ahead | Home | Check | Cost] = []
        begin()
        self.view = LookaheadView(large)
        self._load()
        live = {k: s for k, s in JOURNEY.items() if s.live}
        later = {k: s for k, s in JOURNEY.items() if not s.live}
        which = Number("poison", 1, 1, POISONS, self._pick, self.say)
        now = {"which": which} | dials(live, self.knobs(), self.turn, self.say)
        next_run = dials(later, self.knobs(), self.later, self.say)
        self.controls = now | next_run
        shown, folded = ([c.widget for c in some.values()] for some in (now, next_run))
        self.assemble(self.view.figure, shown, question, later=folded)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[Ahead | Home | Check | Cost]:
        s, scene, gradient = self.knobs(), self.scene, 0
        for item in there_and_back(scene, s.unroll_steps, s.lr):
            yield from resting(self.runner, self.knobs().pace)
            yield item
            gradient = gradient + item.share if isinstance(item, Home) else gradient
        h = 10.0**-s.digits
        yield from checks(scene, gradient, s.unroll_steps, s.lr, h, s.seed)
        measured = costs(scene, s.unroll_steps, s.lr)
        while cost := self._alone(measured):
            yield cost

    def _alone(self, measured: Iterator[Cost]) -> Cost | None:
        """The next one: what is drawn meanwhile would be in its times."""
        with self.canvas.lock:
            return next(measured, None)

    def take(self, item: Ahead | Home | Check | Cost) -> None:
        self.records.append(item)

    def frame(self) -> int:
        return len(self.records)

    def show_frame(self, frame: int) -> None:
        self.view.update(self.records[:frame], self.which)

    def clear(self) -> None:
        self.records = []
        self._load()
        self.redraw_kept()

    def total(self) -> int:
        return 1 + DIRECTIONS + (2 + len(STRATEGIES)) * self.knobs().unroll_steps

    def curve(self):
        ahead = [r for r in self.records if isinstance(r, Ahead)]
        return [r.step for r in ahead], [r.loss for r in ahead]

    def _load(self) -> None:
        s = self.knobs()
        self.scene = make_scene(s.network, s.seed)
        self.view.lay_out(self.scene, s.unroll_steps)

    # ── in words ──────────────────────────────────────────────────────────────────────────────

    def describe(self) -> str:
        s, seen = self.knobs(), self.records[: self.seen or 0]
        about = (
            f"{s.unroll_steps} training steps ahead of a network ({s.network}) that has seen road "
            f"signs; a {TARGET} sign is the target, and it is to be called {WANTED}. "
        )
        kinds = [[r for r in seen if isinstance(r, kind)] for kind in (Ahead, Home, Check, Cost)]
        told = [self._ahead, self._home, self._checks, self._costs]
        words = [tell(found) for tell, found in zip(told, kinds, strict=True) if found]
        return about + (" ".join(words) or "Nothing has run yet.")

    def _ahead(self, found: list[Ahead]) -> str:
        return (
            f"After k = {found[-1].step} steps the adversarial loss is {found[-1].loss:.2f}; it "
            f"was {found[0].loss:.2f}. P({WANTED}) = {percent(found[-1].probability)}."
        )

    def _home(self, found: list[Home]) -> str:
        return (
            f"On the way back the gradient has passed step {found[-1].step + 1}; λ is "
            f"{found[-1].length:.3g} long there. What has come home to poison {self.which + 1} has "
            f"a cosine of {toward(self.scene, found, self.which):.2f} with the target."
        )

    def _checks(self, found: list[Check]) -> str:
        most = max(abs(r.gradient - r.difference) for r in found)
        scale = max(abs(r.gradient) for r in found)
        return (
            f"In {len(found)} random directions, where the slope is up to {scale:.1e}, gradient "
            f"and difference (h = 1e-{self.knobs().digits}) are at most {most:.1e} apart."
        )

    def _costs(self, found: list[Cost]) -> str:
        k = found[-1].steps
        each = [
            f"{r.strategy} {r.milliseconds:.3g} ms"
            + ("" if r.megabytes is None else f" and {r.megabytes:.3g} MB")
            for r in found
            if r.steps == k
        ]
        numbers = self.scene.poisons.numel()
        return (
            f"One meta-gradient of K = {k} (median of {TIMES} times): {', '.join(each)}. "
            f"Differences for all {numbers:,} numbers of the poisons would take {2 * numbers:,} "
            "trainings of K steps."
        )

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _pick(self, which: int) -> None:
        with self.canvas.lock:
            self.which = which - 1
            self.view.update(self.records[: self.seen or 0], self.which)
        self.redraw()

    def show_controls(self) -> None:
        show(self.controls, vars(self.knobs()), JOURNEY)

    def check(self, values: dict[str, object]) -> None:
        dataclasses.replace(self.knobs(), **values)

    def apply(self, values: dict[str, object]) -> None:
        self.knobs.turn(**values)
