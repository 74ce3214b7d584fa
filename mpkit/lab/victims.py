"""VictimsLab: fresh victims arrive, and are counted (slides 10–11)."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from torch import Tensor

from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import counted
from mpkit.evaluation.victims import VictimRecord
from mpkit.lab.kit import pace
from mpkit.lab.kit.attack_lab import AttackLab
from mpkit.lab.kit.canvas import new_figure
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Put
from mpkit.lab.kit.touch import Exhibit, said_of
from mpkit.lab.poison_source import Batch, PoisonSource, Sourced, arm_sources, rescaled
from mpkit.lab.victims_controls import changed, show_victims, victim_controls
from mpkit.lab.victims_story import Telling
from mpkit.lab.victims_view import CountsView, said_by
from mpkit.metapoison import CraftRecord
from mpkit.runs.attack import Attack
from mpkit.runs.idle import make_attack
from mpkit.runs.prepared import prepare
from mpkit.settings import bounds_told

GROUP = 2
"""Victims trained side by side, with their twins: two keep two cores busy."""


class Epoch(NamedTuple):
    """Victims and twins in training: after so many of their epochs, and what they `say` then."""

    epoch: int
    of: int
    say: tuple[VictimRecord, ...]


class Moment(NamedTuple):
    """What there was to be shown: groups of victims and one in training, or a step of crafting."""

    groups: int
    crafting: CraftRecord | None
    training: Epoch | None = None


class VictimsLab(Telling, Sourced, AttackLab):
    """Train fresh victims on poisons, and their twins on clean pictures and on noise; count.

    `poisons` uint8 (P, C, H, W), or a `source`: such poisons, or a `CraftLab`, whose attack and
    poisons are those of the moment a run starts. Without either the first run crafts some, which
    are kept until the attack changes. `given` as for `mpkit.make_attack`. Raises ValueError
    for poisons that do not fit the attack's bases, or given twice.
    """

    name, unit = "victims", "step"
    usual: ClassVar = {"share": 100, "seed": 0, "wanted": 8}

    def __init__(
        self,
        source=None,
        question: Question | None = None,
        large: bool = False,
        victims: int | None = None,
        poisons: Tensor | None = None,
        **given,
    ):
        if source is not None and poisons is not None:
            raise ValueError("give poisons or a source of poisons, not both")
        attack = make_attack(**given, victims=victims)
        self.source = PoisonSource(source if poisons is None else poisons, attack)
        self.seed, self.strength = self.attack.settings.seed, 100
        self.count, self.begun, self._counting = attack.victims, 0, threading.Lock()
        self.arrivals: list[list[VictimRecord]] = []
        self.batch: Batch | None = None
        self.wait = False
        self.crafting: CraftRecord | None = None
        self.training: Epoch | None = None
        self.exhibit = Exhibit(self.say, self.taken_out)
        self.figure = new_figure(9, 5.4 if large else 4.2, large)
        self._lay_out()
        self.controls = victim_controls(attack, self.own(), self._more, self.later, self.say)
        when = self.source.when(self.wait, self.later, self.say)
        live, *later = (c.widget for c in self.controls.values())
        shown = [live, *(c.widget for c in when.values())]
        self.controls |= when
        self.assemble(self.figure, shown, question, later=later, pictures=[self.exhibit.widget])

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[CraftRecord | Epoch | list[VictimRecord]]:
        if self.wait:
            yield from self.source.until_crafted(self._tell_waiting)
        look = self.source.look()
        yield Put(lambda: self._start_from(look))
        attack = dataclasses.replace(look.attack, victims=GROUP)
        ready = prepare(attack, progress=False, scenario=look.scenario)
        batch, seed, strength = look.batch, self.seed, self.strength
        without, left_out = self.exhibit.now()
        if batch is None:
            batch = yield from self.source.craft(ready, self.within())
        # As they are now: a CraftLab may go on crafting while its victims train.
        bounds = {name: strength / 100 * e for name, e in batch.settings.bounds.items()}
        batch = dataclasses.replace(batch, left_out=left_out)
        yield self.put(batch=batch, dose=bounds_told(bounds))
        yield Put(lambda: self._show(batch))
        sources = arm_sources(ready.scenario, batch.pictures, strength, batch.settings, seed)
        sources["poisoned"] = without(ready.scenario, sources["poisoned"])
        data = {arm: dataclasses.replace(ready.scenario.train, x=x) for arm, x in sources.items()}
        data["poisoned"] = dataclasses.replace(data["poisoned"], y=ready.scenario.poisoned_labels)
        kept = ready.kept(data, self.within(), seed=seed)
        while some := (yield Put(self._next)):
            now: dict[tuple[str, int], VictimRecord] = {}
            watch = lambda said, now=now: now.update({(r.arm, r.victim): r for r in said})  # noqa: E731
            how = {"seed": seed, "tell": self.within(), "kept": kept, "watch": watch}
            for epoch, records in ready.train(data, some, **how):
                yield records or Epoch(epoch, ready.epochs(data), tuple(now.values()))

    def _next(self) -> range:
        """The victims to be trained next; empty when there are as many as are asked for."""
        with self._counting:  # so that the number cannot shrink under those being trained
            some = range(self.begun, max(self.begun, min(self.begun + GROUP, self.count)))
            self.begun = some.stop
        return some

    def take(self, item: CraftRecord | Epoch | list[VictimRecord]) -> None:
        if isinstance(item, CraftRecord):
            self.crafting = item
        elif isinstance(item, Epoch):
            self.training = item
        else:
            self.training = None
            self.arrivals.append(item)
            if self.begun >= self.count:
                self.judge()

    def frame(self) -> Moment:
        return Moment(len(self.arrivals), self.crafting, self.training)

    def show_frame(self, frame: Moment) -> None:
        records, training = self._until(frame), frame.training.say if frame.training else ()
        said = said_by(records or training, self.source.scenario)
        self.view.update(records, said, training)
        if records or training:
            called = said_of(self.source.scenario.train.classes, said) if any(said) else ""
            self._show(self.batch, called)
        else:
            self._exhibit()
        about = f"{self._counted(frame)}, {self.dose}" if records or training else ""
        wanted = f"{about}: probability of {self.view.wanted}"
        self.view.say(wanted if about else self._crafting_words(frame.crafting))
        self.view.tell(self.batch.words if about else "")

    def moving(self) -> list:
        return self.view.moving()

    def step_seen(self) -> str:
        return self._counted(self.seen) or f"craft step {self.seen.crafting.step}"

    def _counted(self, moment: Moment) -> str:
        """How many victims there were, and how far those in training were."""
        n, training = len(self._until(moment)) // len(ARMS), moment.training
        parts = [f"{n} victim{'s' * (n > 1)}"] if n else []
        parts += [f"epoch {training.epoch} of {training.of}"] if training else []
        return " and ".join(parts)

    def _until(self, moment: Moment) -> list[VictimRecord]:
        """The victims and twins that there were."""
        return [r for group in self.arrivals[: moment.groups] for r in group]

    def clear(self) -> None:
        self.arrivals, self.begun, self.batch = [], 0, None
        self.crafting = self.training = None
        self.reason = ""
        self.source.refresh()
        self._lay_out()

    def _lay_out(self) -> None:
        self.figure.clear()
        epochs = self.attack.victim_recipe.epochs
        self.view = view = CountsView(self.figure, self.source.scenario, epochs)
        self.spans = view.spans
        self._exhibit()
        self.redraw_kept()

    def _exhibit(self) -> None:
        """What there is before any victim: the bases, or poisons that were there before."""
        self.exhibit.lay_out(self.source.scenario, self.view.true)
        if batch := self.source.batch:
            self._show(batch)

    def _show(self, batch: Batch, said: str = "") -> None:
        """The poisons, as strong as victims get them, and what the target is called."""
        pictures = rescaled(self.source.scenario, batch.pictures, self.strength, 100)
        self.exhibit.show(pictures, batch.settings.epsilon, said=said)

    def total(self) -> int:
        crafting = bool(self.crafting) or (not self.arrivals and not self.source.there)
        groups = len(self.arrivals) - (-max(0, self.count - self.arrived) // GROUP)
        return crafting * self.attack.settings.craft_steps + groups * self._epochs()

    def _epochs(self) -> int:
        """Of a group: arms train one after another where there is a defense."""
        defended = self.attack.defense.defense != "none"
        return self.attack.victim_recipe.epochs * (len(ARMS) if defended else 1)

    def work(self) -> float:
        rows = len(self.source.scenario.train)
        crafting = not self.source.there and pace.crafting_work(self.attack, rows)
        return crafting + pace.training_work(self.attack, rows, len(ARMS) * self.count)

    def pictures(self):
        return self.source.scenario.train

    def curve(self):
        """The share of poisoned victims that turned, against their number."""
        turned = [sum(r.success) / len(r.success) for r in self.records if r.arm == "poisoned"]
        ns = [*range(1, len(turned) + 1)]
        return ns, [sum(turned[:n]) / n for n in ns]

    # ── in numbers and words ──────────────────────────────────────────────────────────────────

    def _poisons(self) -> Tensor | None:
        return self.source.poisons()

    @property
    def records(self) -> list[VictimRecord]:
        """All victims and twins so far."""
        return [r for group in self.arrivals for r in group]

    @property
    def arrived(self) -> int:
        """How many victims there are, twins not counted."""
        return len(self.records) // len(ARMS)

    def guessed(self) -> None:
        if self.guess is not None:
            n = self.question.high
            self.view.guess(self.guess / n, f"your guess: {self.guess} of {n} (dashed line)")

    def describe(self) -> str:
        view = self.view
        about = f"Victims that are to call a picture of {view.true} {view.wanted}. "
        if not (moment := self.seen):
            return about + "None has arrived yet." + self.exhibit.describe()
        if not (records := self._until(moment)):
            under_way = self._counted(moment)
            under_way = f"The first are in training: {under_way}" if under_way else ""
            return f"{about}{under_way or self._crafting_words(moment.crafting)}."
        epochs = self.attack.victim_recipe.epochs
        lines = [f"{arm}: {counted(records, arm, epochs)}" for arm in ARMS]
        scenario = self.source.scenario
        names = zip(scenario.train.classes, said_by(records, scenario), strict=True)
        said = ", ".join(f"{name} {percent(p, 0)}" for name, p in names if p >= 0.01)
        return (
            f"{about}{self.dose}, {self.batch.words}; "
            f"{'; '.join(lines)}. "
            f"Poisoned victims on average give the target: {said or 'nothing, as all diverged'}."
            f"{self.exhibit.describe()} {self.reason * self.film.live}"
        ).rstrip()

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _more(self, count: int) -> None:
        with self._counting:
            if count < self.begun:
                raise ValueError(f"{self.begun} have arrived already or are in training: not fewer")
            self.count = count
        self.say("After reset (↺)." if self.runner.phase.ended else "")
        self._tell()

    def show_controls(self) -> None:
        show_victims(self.controls, self.attack, self.own() | {"wait": self.wait})

    def check(self, values: dict[str, object]) -> None:
        attack, train = changed(self.attack, values), self.source.scenario.train
        attack.networks(train.shape, len(train.classes))

    def apply(self, values: dict[str, object]) -> None:
        self.source.attack = changed(self.attack, values)
        self.strength = values.get("share", self.strength)
        self.seed = values.get("seed", self.seed)
        self.wait = values.get("wait", self.wait)

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def own(self) -> dict[str, object]:
        return {"share": self.strength, "seed": self.seed, "wanted": self.count}

    def adopt(self, attack: Attack, own: dict[str, object]) -> None:
        self.source.refuse_codes()
        if not (0 <= own["share"] <= 200 and 1 <= own["wanted"] <= 1000):
            raise ValueError("This code wants a share of ε or a number of victims out of range.")
        self.source.attack = attack
        self.strength, self.seed, self.count = own["share"], own["seed"], own["wanted"]
