"""CollisionLab: base + δ = poison, for a network that is already trained (slides 2–4)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpkit.baselines import Collision, CollisionRecord, collide
from mpkit.evaluation.victims import predict
from mpkit.functional import State
from mpkit.lab.collision_view import CollisionView
from mpkit.lab.kit.attack_lab import ATTACK, CRAFTING, AttackLab
from mpkit.lab.kit.dials import ClassDial, dial, dials, show
from mpkit.lab.kit.knobs import Knobs
from mpkit.lab.kit.panel import Question
from mpkit.runs.attack import Attack
from mpkit.runs.idle import make_attack
from mpkit.runs.prepared import load_scenario
from mpkit.setting import changes, settings_of
from mpkit.streams import stream
from mpkit.training import train

COLLISION = settings_of(Collision)


class Moment(NamedTuple):
    """A step to be shown again: how many records there were, the poison (C, H, W), where all is in
    the network's features (N, 2), and what the network calls the poison."""

    count: int
    poison: Tensor
    places: np.ndarray
    said: str


class CollisionLab(AttackLab):
    """Move a base picture until a trained network cannot tell it from the target.

    `given` as for `mpkit.make_attack`. The network is trained on clean pictures when a run
    first begins.
    """

    name, unit, lead = "collision", "step", 1
    usual: ClassVar = vars(Collision()) | {"seed": 0}

    def __init__(
        self, question: Question | None = None, large: bool = False, seed: int = 0, **given
    ):
        self.attack, self.seed = make_attack(seed=seed, **given), seed
        self.knobs = Knobs(Collision())
        self.records: list[CollisionRecord] = []
        self.trained: State | None = None
        self.view = CollisionView(large)
        self._load()
        live, later = self._make_controls()
        self.controls = live | later
        parts = [[c.widget for c in some.values()] for some in (live, later)]
        given = {"later": parts[1], "pictures": [self.view.faces]}
        self.assemble(self.view.figure, parts[0], question, **given)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[tuple[Tensor, CollisionRecord]]:
        network, scenario, trained = self.network, self.scenario, self.trained
        if trained is None:
            train_set = scenario.train
            seed = stream(self.seed, "collision")
            recipe = dataclasses.replace(self.attack.victim_recipe, epochs=10)
            runs = train(network, train_set.x, train_set.y, recipe, [seed], tell=self.within())
            *_, (state, _) = runs
            trained = state.pick(0)
            yield self.put(trained=trained)
        base, target = scenario.base_images[0], scenario.targets[0]
        for item in collide(network, trained, base, target, self.knobs):
            if not math.isfinite(item[1].features):  # argmax would call it class 0
                raise ValueError("the network's training diverged: take a lower victim_lr")
            yield item

    def take(self, item: tuple[Tensor, CollisionRecord]) -> None:
        self.poison, record = item
        for text in changes(self.records[-1], record, COLLISION.values()) if self.records else ():
            self.mark(record.step - 0.5, text)
        self.records.append(record)

    def frame(self) -> Moment:
        places = self.view.places(self.network, self.trained, self.poison)
        return Moment(len(self.records), self.poison, places, self._said())

    def show_frame(self, frame: Moment) -> None:
        records = self.so_far(self.records, frame.count)
        curve = [r.step for r in records], [r.features for r in records]
        self.view.update(frame.poison, curve, self.marks, frame.count)
        self.view.put(frame.places)

    def clear(self) -> None:
        self.records = []
        self._load()
        self.redraw_kept()

    def moving(self) -> list:
        return self.view.moving()

    def total(self) -> int:
        return self.knobs().steps + 1

    def curve(self):
        return [r.step for r in self.records], [r.features for r in self.records]

    def describe(self) -> str:
        names = self.scenario.train.classes
        about = f"A {names[self.base_class]} is to get the features of a {names[self.true]}. "
        if not (moment := self.seen):
            return about + "Nothing has run yet."
        r = self.records[moment.count - 1]
        return about + (
            f"After step {r.step} the features are {r.features:.2f} apart (they were "
            f"{self.records[0].features:.2f}), and a pixel moved by {255 * r.pixels:.0f} of 255 "
            f"on average; beta is {r.beta:g}. The network calls the poison {moment.said}."
        )

    @torch.no_grad()
    def _said(self) -> str:
        state = self.trained.map(lambda t: t[None])
        said = predict(self.network, state, self.poison[None])
        return self.scenario.train.classes[int(said.argmax())]

    # ── the scene ─────────────────────────────────────────────────────────────────────────────

    def _load(self) -> None:
        self._refuse(self.attack)
        self.scenario = load_scenario(self.attack, progress=False)
        train_set = self.scenario.train
        names = train_set.classes
        self.true = int(self.scenario.target_labels[0])
        self.base_class = int(train_set.y[self.scenario.bases[0]])
        self.poison = self.scenario.base_images[0]
        self.network, _ = self.attack.networks(train_set.shape, len(names))
        self.view.lay_out(self.scenario, self.knobs().steps)

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _make_controls(self) -> tuple[dict, dict]:
        parts = [{k: s for k, s in COLLISION.items() if s.live is live} for live in (True, False)]
        live = dials(parts[0], self.knobs(), self.turn, self.say)
        later = dials(parts[1], self.knobs(), self.later, self.say)
        seed = CRAFTING["seed"]
        later["seed"] = dial(seed, self.seed, lambda v: self.later(seed=v), self.say)
        for name, label in (("target_class", ""), ("poison_class", "base")):
            told = lambda v, name=name: self.later(**{name: v})  # noqa: E731
            data = self.scenario.train
            later[name] = ClassDial(ATTACK[name], data, told, self.say, label)
        return live, later

    def show_controls(self) -> None:
        names = self.scenario.train.classes
        faces = {"target_class": names[self.true], "poison_class": names[self.base_class]}
        show(self.controls, vars(self.knobs()) | {"seed": self.seed} | faces, COLLISION)

    def check(self, values: dict[str, object]) -> None:
        attack, _, opacity = self._next(values)
        dataclasses.replace(self.knobs(), opacity=opacity)
        load_scenario(attack, progress=False)  # raises what is wrong with it

    def apply(self, values: dict[str, object]) -> None:
        self.attack, seed, opacity = self._next(values)
        if seed != self.seed:
            self.seed, self.trained = seed, None
        self.knobs.turn(opacity=opacity)

    @staticmethod
    def _refuse(attack: Attack) -> None:
        """Raises ValueError for goals that no collision has: it is with one picture of another
        class."""
        if attack.goal != "targeted":
            raise ValueError(f"a collision has the goal targeted, not {attack.goal}")

    def _next(self, values: dict[str, object]) -> tuple[Attack, int, float]:
        """The attack, the seed and the watermark of the next run."""
        attack = {k: v for k, v in values.items() if k not in ("seed", "opacity")}
        own = values.get("seed", self.seed), values.get("opacity", self.knobs().opacity)
        return dataclasses.replace(self.attack, **attack), *own

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def own(self) -> dict[str, object]:
        return vars(self.knobs()) | {"seed": self.seed}

    def adopt(self, attack: Attack, own: dict[str, object]) -> None:
        self._refuse(attack)
        seed = own.pop("seed")
        knobs = Collision(**own)
        self.attack, self.seed, self.trained = attack, seed, None
        self.knobs.put(knobs)
