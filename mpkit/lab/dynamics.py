"""DynamicsLab: what poisons do to a training run, beside its clean twin (slides 7–9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
from torch import Tensor

from mpkit.device import Plan, cores
from mpkit.evaluation.victims import victim_seed
from mpkit.functional import State, init, own, stack
from mpkit.lab.dynamics_record import Moment, TwinRecord, measure
from mpkit.lab.dynamics_view import TwinsView
from mpkit.lab.kit import pace
from mpkit.lab.kit.attack_lab import CRAFTING, TRAINING, AttackLab, recipe_changed
from mpkit.lab.kit.dials import Control, dial, dials, show
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Phase, Put
from mpkit.lab.kit.touch import Exhibit
from mpkit.lab.kit.views import marks_told
from mpkit.lab.landscape import losses_on
from mpkit.lab.poison_source import Batch, Look, PoisonSource, Sourced, rescaled, strength
from mpkit.lab.wish import wish_of
from mpkit.metapoison import CraftRecord, target_loss
from mpkit.runs.attack import Attack
from mpkit.runs.idle import make_attack
from mpkit.runs.prepared import Prepared, prepare
from mpkit.training import train

CLEAN, POISONED = 0, 1


class DynamicsLab(Sourced, AttackLab):
    """A victim and its clean twin, from the same weights and batches, trained in step.

    `source`: a `CraftLab` (its poisons at the start of a run), uint8 poisons (P, C, H, W), or None:
    the first run crafts some. ε acts mid-run: the victim goes on with the poisons' change rescaled.
    `given` as for `mpkit.make_attack`. Raises ValueError for poisons that do not fit.
    """

    name, unit, lead = "dynamics", "step", 1
    usual: ClassVar = {"seed": 0, "epsilon": None}

    def __init__(
        self,
        source=None,
        question: Question | None = None,
        large: bool = False,
        seed: int = 0,
        **given,
    ):
        self.source, self.twin_seed = PoisonSource(source, make_attack(**given)), seed
        self.ready: Prepared | None = None
        self.epsilon: float | None = None
        self.batch: Batch | None = None
        self.wait = False
        self._take_over(*self._look())
        self.records: list[TwinRecord] = []
        self.crafting: CraftRecord | None = None
        self.path: list[Tensor] = []
        self.places: np.ndarray | None = None
        self.view = TwinsView(self.ready.scenario, self.attack.victim_recipe.epochs, large)
        self.exhibit = Exhibit(self.say, self.taken_out)
        self._exhibited()
        live, *later = (c.widget for c in self._make_controls().values())
        when = self.source.when(self.wait, self.later, self.say)
        self.controls |= when
        shown = [live, *(c.widget for c in when.values())]
        given = {"later": later, "pictures": [self.exhibit.widget]}
        self.assemble(self.view.figure, shown, question, **given)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[CraftRecord | tuple[State, TwinRecord]]:
        if self.wait:
            yield from self.source.until_crafted(self._tell_waiting)
        look, ready = self._look()
        yield Put(lambda: self._begin(look, ready))
        batch = look.batch
        if batch is None:
            batch = yield from self.source.craft(ready, self.within())
        # As they are now: a CraftLab may go on crafting while the twins train.
        strongest = strength(ready.scenario, batch)
        without, left_out = self.exhibit.now()
        batch = dataclasses.replace(batch, left_out=left_out)
        yield Put(lambda: self._start(batch, strongest))
        yield from self._train(ready, batch.pictures, strongest, without)

    def _look(self) -> tuple[Look, Prepared]:
        """What there is at this moment, made ready to run."""
        look, ready = self.source.look(), self.ready
        if look.new or ready is None:
            ready = prepare(look.attack, progress=False, scenario=look.scenario)
        return look, ready

    def _take_over(self, look: Look, ready: Prepared) -> bool:
        """True where it is another attack."""
        self.ready = ready
        return self.source.put(look)

    def _begin(self, look: Look, ready: Prepared) -> None:
        with self.canvas.lock, self.lock:
            if self._take_over(look, ready):
                self._lay_out()

    def _start(self, batch: Batch, strongest: float) -> None:
        with self.lock:
            self.batch, self._strongest = batch, strongest
        self.exhibit.show(batch.pictures, strongest)
        if self.epsilon is None:  # not chosen by hand: as strong as the poisons came
            self.epsilon = strongest
            self.controls["epsilon"].show(CRAFTING["epsilon"].shown(self.epsilon))

    @property
    def poisons(self) -> Tensor:
        """Those of this run, as they were crafted."""
        return self.batch.pictures

    def _train(
        self, ready: Prepared, poisons: Tensor, strongest: float, without: Callable
    ) -> Iterator[tuple[State, TwinRecord]]:
        scenario, recipe = ready.scenario, self.attack.victim_recipe
        seed, used = victim_seed(self.attack.settings.seed, 5000 + self.twin_seed), {}

        def now() -> float:
            return strongest if self.epsilon is None else self.epsilon

        def pictures(twin: int) -> Tensor:
            if twin == CLEAN:
                return scenario.train.x
            used["epsilon"] = now()  # read once an epoch: all its batches agree
            given = rescaled(scenario, poisons, used["epsilon"], strongest)
            return without(scenario, scenario.poisoned(given))

        plan = Plan(1, min(2, cores()))
        network = ready.network
        start = stack([init(network, seed)] * 2).map(lambda t: t.to(scenario.train.x))
        yield start, measure(ready, start, 0, (float("nan"),) * 2, now())
        data = scenario.train.x, stack([scenario.train.y, scenario.poisoned_labels])
        tell = self.within()
        runs = train(network, *data, recipe, [seed] * 2, plan=plan, own_x=pictures, tell=tell)
        for state, record in runs:
            told = record.epoch, record.losses, used["epsilon"]
            yield state, measure(ready, state, *told)

    def take(self, item: CraftRecord | tuple[State, TwinRecord]) -> None:
        if isinstance(item, CraftRecord):
            self.crafting = item
            return
        self.state, record = item
        if self.records and record.epsilon != self.records[-1].epsilon and record.epoch > 1:
            words = CRAFTING["epsilon"].change(self.records[-1].epsilon, record.epsilon)
            self.mark(record.epoch - 0.5, words)
        self.records.append(record)
        self.path.append(self.view.flat(self.state))
        self.view.follow(self.path)
        poisons = rescaled(self.ready.scenario, self.poisons, record.epsilon, self._strongest)
        found = self.view.places(self.ready.network, self.state.pick(POISONED), poisons)
        self.places = self.places if found is None else found
        if record.epoch == self.attack.victim_recipe.epochs:
            self._contours()

    def frame(self) -> Moment | None:
        return Moment(len(self.records), self.places) if self.records else None

    def catch_up(self, again: bool = False) -> None:
        if self.crafting and not self.seen:
            self.view.say(f"crafting first: step {self.crafting.step}")
        super().catch_up(again)

    def show_frame(self, frame: Moment) -> None:
        self.view.tell(self.batch.words)
        self.view.update(self.so_far(self.records, frame.count), self.marks, frame.count)
        now, most = self.records[frame.count - 1].epsilon, self._strongest
        given = rescaled(self.ready.scenario, self.poisons, now, most)
        self.exhibit.show(given, max(now, most))
        if frame.places is not None:
            self.view.put(frame.places)

    def moving(self) -> list:
        return self.view.moving()

    def step_seen(self) -> str:
        return f"epoch {self.records[self.seen.count - 1].epoch}"

    def _contours(self) -> None:
        scenario, module = self.ready.scenario, own(self.ready.network)
        loss = target_loss(scenario, module, self.attack.settings)
        x, y = scenario.train.x[:200], scenario.train.y[:200]
        self.view.contours(losses_on(module, x, y, loss), self.state.pick(CLEAN))

    def clear(self) -> None:
        self.records, self.path, self.crafting, self.batch = [], [], None, None
        self.places = None
        if self.source.given is not None:
            self.epsilon = None  # another run of the CraftLab may have made other poisons
        self._take_over(*self._look())
        self._lay_out()

    def _lay_out(self) -> None:
        self.view.lay_out(self.ready.scenario, self.attack.victim_recipe.epochs)
        self._exhibited()
        self.redraw_kept()

    def _exhibited(self) -> None:
        scenario = self.ready.scenario
        self.exhibit.lay_out(scenario, wish_of(scenario).true)
        if batch := self.source.batch:
            self.exhibit.show(batch.pictures, strength(scenario, batch))

    def total(self) -> int:
        waiting = not (self.batch or self.source.there) or self.crafting is not None
        return self.attack.victim_recipe.epochs + 1 + waiting * self.attack.settings.craft_steps

    def work(self) -> float:
        rows = len(self.ready.scenario.train)
        crafting = not self.source.there and pace.crafting_work(self.attack, rows)
        return crafting + pace.training_work(self.attack, rows, 2)

    def pictures(self):
        return self.ready.scenario.train

    def curve(self):
        return [r.epoch for r in self.records], [r.adversarial[POISONED] for r in self.records]

    def describe(self) -> str:
        wish = wish_of(self.ready.scenario)
        true, wanted = wish.true, wish.wanted
        if not (moment := self.seen):
            return f"A clean and a poisoned twin; a {true} is to be called {wanted}. " + (
                f"Crafting, step {self.crafting.step}." if self.crafting else "Nothing has run yet."
            )
        r = self.records[moment.count - 1]
        return (
            f"After epoch {r.epoch}, at epsilon {255 * r.epsilon:.0f}/255, {self.batch.words}: "
            f"{r.words(true, wanted)}."
        ) + f"{marks_told(self.marks, 'epoch', r.epoch)}{self.exhibit.describe()}"

    # ── where data and poisons come from ──────────────────────────────────────────────────────

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _make_controls(self) -> dict[str, Control]:
        recipe = {k: TRAINING[k] for k in ("lr", "epochs")}
        bound = CRAFTING["epsilon"]  # here: how strong the poisons' change is, rescaled
        seed = CRAFTING["seed"]
        twins = {"label": "seed of the twins"}
        self.controls = {
            "epsilon": dial(
                bound, self.attack.settings.epsilon, self._turn, self.say, slider=(0, 64)
            ),
            **dials(recipe, self.attack.victim_recipe, self.later, self.say),
            "seed": dial(seed, self.twin_seed, lambda v: self.later(seed=v), self.say, **twins),
        }
        return self.controls

    def show_controls(self) -> None:
        now = self.epsilon
        if now is None:  # as strong as the poisons are, or those that are to be crafted
            batch = self.source.look().batch
            now = strength(self.ready.scenario, batch) if batch else self.attack.settings.epsilon
        show(self.controls, {"epsilon": now, "seed": self.twin_seed}, CRAFTING)
        show(self.controls, vars(self.attack.victim_recipe) | {"wait": self.wait}, TRAINING)

    def _turn(self, epsilon: float) -> None:
        self.epsilon = epsilon
        if self.runner.phase in (Phase.RUNNING, Phase.PAUSING, Phase.PAUSED):
            self.say("From the next epoch on.")

    def check(self, values: dict[str, object]) -> None:
        recipe_changed(self.attack, **{k: v for k, v in values.items() if k in TRAINING})

    def apply(self, values: dict[str, object]) -> None:
        self.twin_seed = values.get("seed", self.twin_seed)
        self.wait = values.get("wait", self.wait)
        recipe = {k: v for k, v in values.items() if k in TRAINING}
        self.source.attack = recipe_changed(self.attack, **recipe)

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def own(self) -> dict[str, object]:
        return {"seed": self.twin_seed, "epsilon": CRAFTING["epsilon"].shown(self.epsilon)}

    def adopt(self, attack: Attack, own: dict[str, object]) -> None:
        self.source.refuse_codes()
        epsilon = own["epsilon"]
        number = isinstance(epsilon, int | float) and not isinstance(epsilon, bool)
        if epsilon is not None and not (number and 0 <= epsilon <= 255):
            raise ValueError(f"ε must be a number from 0 to 255, not {epsilon}")
        self.source.attack, self.twin_seed = attack, own["seed"]
        self.epsilon = CRAFTING["epsilon"].taken(own["epsilon"])
