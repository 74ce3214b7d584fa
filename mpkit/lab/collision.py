"""CollisionLab: base + δ = poison, for a network that is already trained (slides 2–4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from mpkit.attack import load_scenario, make_attack
from mpkit.baselines import Collision, CollisionRecord, collide
from mpkit.evaluation import predict
from mpkit.functional import State
from mpkit.lab.codes import attack_code, attack_of
from mpkit.lab.collisionview import CollisionView
from mpkit.lab.controls import Number, Thumbnails
from mpkit.lab.knobs import Knobs
from mpkit.lab.panel import Lab, Question
from mpkit.lab.runner import Phase
from mpkit.lab.views import show_guess
from mpkit.training import stream, train


class CollisionLab(Lab):
    """Move a base picture until a trained network cannot tell it from the target.

    `given` as for `mpkit.attack.make_attack`. The network is trained on clean pictures when a run
    first begins.
    """

    name, unit, lead = "collision", "step", 1

    def __init__(
        self, question: Question | None = None, large: bool = False, seed: int = 0, **given
    ):
        self.attack, self.seed = make_attack(seed=seed, **given), seed
        self.knobs = Knobs(Collision())
        self.records: list[CollisionRecord] = []
        self.trained: State | None = None
        self.view = CollisionView(large)
        self._load()
        later = self._controls()
        self.assemble(self.view.figure, later[:3], question, later=later[3:])

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[tuple[Tensor, CollisionRecord]]:
        if self.trained is None:
            train_set = self.scenario.train
            seed = stream(self.seed, "collision")
            recipe = dataclasses.replace(self.attack.victim_recipe, epochs=10)
            *_, (state, _) = train(self.network, train_set.x, train_set.y, recipe, [seed])
            self.trained = state.pick(0)
        base, target = self.scenario.base_images[0], self.scenario.targets[0]
        yield from collide(self.network, self.trained, base, target, self.knobs)

    def take(self, item: tuple[Tensor, CollisionRecord]) -> None:
        self.poison, record = item
        if self.records and record.beta != self.records[-1].beta:
            self.mark(record.step - 0.5, f"β {self.records[-1].beta:g} → {record.beta:g}")
        self.records.append(record)
        self.view.update(self.poison, self.curve(), self.marks)
        self.view.features(self.network, self.trained, self.poison)

    def clear(self) -> None:
        self.records = []
        self._load()
        self.redraw_kept()

    def total(self) -> int:
        return self.knobs().steps + 1

    def curve(self):
        return [r.step for r in self.records], [r.features for r in self.records]

    def guessed(self) -> None:
        show_guess(self.view.guess, self.guess)

    def kept(self) -> None:
        self.view.compare([line for line in (self.ghost, *self.named) if line])

    def describe(self) -> str:
        names = self.scenario.train.classes
        about = f"A {names[self.base_class]} is to get the features of a {names[self.true]}. "
        if not self.records:
            return about + "Nothing has run yet."
        r = self.records[-1]
        return about + (
            f"After step {r.step} the features are {r.features:.2f} apart (they were "
            f"{self.records[0].features:.2f}), and a pixel moved by {255 * r.pixels:.0f} of 255 "
            f"on average; beta is {r.beta:g}. The network calls the poison {self._said()}."
        )

    @torch.no_grad()
    def _said(self) -> str:
        state = self.trained.map(lambda t: t[None])
        said = predict(self.network, state, self.poison[None])
        return self.scenario.train.classes[int(said.argmax())]

    # ── the scene ─────────────────────────────────────────────────────────────────────────────

    def _load(self) -> None:
        self.scenario = load_scenario(self.attack, progress=False)
        train_set = self.scenario.train
        names = train_set.classes
        self.true = int(self.scenario.target_labels[0])
        self.base_class = int(train_set.y[self.scenario.bases[0]])
        self.poison = self.scenario.base_images[0]
        self.network, _ = self.attack.networks(train_set.shape, len(names))
        self.view.lay_out(self.scenario, self.knobs().steps)

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> list:
        c = self.knobs()

        def turn(**values: object) -> None:
            self.knobs.turn(**values)
            self._tell()

        self.controls = {
            "beta": Number(
                "β, pull to base", c.beta, 0, 2, lambda v: turn(beta=v), self.say, step=0.05
            ),
            "rate": Number(
                "step size", c.rate, 0.05, 2, lambda v: turn(rate=v), self.say, step=0.05
            ),
            "steps": Number("steps", c.steps, 1, 300, lambda v: turn(steps=v), self.say),
            "opacity": Number("watermark", c.opacity, 0, 1, self._mark_up, self.say, step=0.05),
            "seed": Number("seed", self.seed, 0, 999, lambda v: self._later(seed=v), self.say),
            "target_class": self._faces("target", self.true, "target_class"),
            "poison_class": self._faces("base", self.base_class, "poison_class"),
        }
        return [c.widget for c in self.controls.values()]

    def _faces(self, label: str, shown: int, name: str) -> Thumbnails:
        """A choice of a class by its first picture, which goes into the attack as `name`."""
        data = self.scenario.train
        faces = torch.stack([data.x[data.rows_of(i)[0]] for i in range(len(data.classes))])

        def turned(i: int) -> None:
            self._later(**{name: data.classes[i]})

        return Thumbnails(label, faces, data.classes, shown, turned, self.say)

    def _ready_only(self) -> None:
        if self.runner.phase is not Phase.READY:
            raise ValueError("That changes the whole run: ↺ first, and then change it.")

    def _mark_up(self, opacity: float) -> None:
        self._ready_only()
        self.knobs.turn(opacity=opacity)

    def _later(self, seed: int | None = None, **values: object) -> None:
        self._ready_only()
        attack = dataclasses.replace(self.attack, **values)
        load_scenario(attack, progress=False)  # raises what is wrong with it
        self.attack = attack
        if seed is not None:
            self.seed, self.trained = seed, None
        self.clear()
        self.canvas.draw()

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def code(self) -> str:
        own = dataclasses.asdict(self.knobs()) | {"seed": self.seed}
        return attack_code(self.name, self.attack, **own)

    def use_code(self, code: str) -> None:
        usual = dataclasses.asdict(Collision()) | {"seed": 0}
        attack, own = attack_of(self.name, code, **usual)
        seed, knobs = own.pop("seed"), Collision(**own)
        self.attack, self.seed, self.trained = attack, seed, None
        self.knobs.put(knobs)
        self.clear()
        places = {"seed": seed, "target_class": self.true, "poison_class": self.base_class}
        for name, value in (own | places).items():
            self.controls[name].show(value)
        self.canvas.draw()
