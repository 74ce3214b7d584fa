"""DefenseLab: the same poisons against one defense after another, and what each costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from torch import Tensor

from mpkit.defenses.defense import DEFENSES
from mpkit.lab.defense_controls import DEFENSE, defense_controls, show_defense
from mpkit.lab.defense_judged import ARMS, QUICK, Judged, among, judged
from mpkit.lab.defense_thrown import Thrown
from mpkit.lab.defense_view import DefenseView
from mpkit.lab.kit import pace
from mpkit.lab.kit.attack_lab import AttackLab
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Put
from mpkit.lab.poison_source import Batch, PoisonSource, Sourced
from mpkit.lab.wish import wish_of
from mpkit.metapoison import CraftRecord
from mpkit.runs.attack import Attack
from mpkit.runs.idle import make_attack
from mpkit.runs.prepared import prepare


class Moment(NamedTuple):
    """What there was to be shown: so many defenses judged, or a step of crafting."""

    judged: int
    crafting: CraftRecord | None


class DefenseLab(Sourced, AttackLab):
    """Judge poisons under each of several defenses: success against clean accuracy, a point each.

    `source` and `poisons` as for `VictimsLab`. `defenses`: names of `mpkit.defenses.defense`; if
    not said, the one that is `given`, or the quick ones. `victims` fresh ones each, and as many
    twins. `given` as for `mpkit.make_attack`. Raises ValueError for names that are not there, and
    as `VictimsLab` does.
    """

    name, unit = "defense", "step"
    usual: ClassVar = {"seed": 0, "wanted": 4, "defenses": ",".join(QUICK)}

    def __init__(
        self,
        source=None,
        defenses: Sequence[str] | None = None,
        *,
        question: Question | None = None,
        large: bool = False,
        victims: int = 4,
        poisons: Tensor | None = None,
        **given,
    ):
        if source is not None and poisons is not None:
            raise ValueError("give poisons or a source of poisons, not both")
        attack = make_attack(**given, victims=victims)
        if defenses is None:
            named = attack.defense.defense
            defenses = QUICK if named == "none" else ("none", named)
        self.chosen = among(defenses)
        self.source = PoisonSource(source if poisons is None else poisons, attack)
        self.seed, self.count, self.wait = self.attack.settings.seed, victims, False
        self.judged: list[Judged] = []
        self.crafting: CraftRecord | None = None
        self.batch: Batch | None = None
        self.looked, self.set_up = "", self.chosen[-1]
        self.view, self.thrown = DefenseView(large), Thrown(self.say)
        self._lay_out()
        self.controls = defense_controls(self)
        when = self.source.when(self.wait, self.later, self.say)
        look, *later = (c.widget for c in self.controls.values())
        shown = [look, *(c.widget for c in when.values())]
        self.controls |= when
        pictures = [self.thrown.widget]
        self.assemble(self.view.figure, shown, question, later=later, pictures=pictures)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[CraftRecord | Judged | Put]:
        if self.wait:
            yield from self.source.until_crafted(self._tell_waiting)
        look, chosen = self.source.look(), self.chosen
        seed, count = self.seed, self.count
        yield Put(lambda: self._start_from(look))
        attack = dataclasses.replace(look.attack, victims=count)
        ready = prepare(attack, progress=False, scenario=look.scenario)
        batch = look.batch
        if batch is None:
            batch = yield from self.source.craft(ready, self.within())
        yield self.put(batch=batch)
        arms = ready.arms(batch.pictures, ARMS)
        for name in chosen:
            one = dataclasses.replace(attack.defense, defense=name)
            yield judged(ready, arms, one, seed, self.within())

    def take(self, item: CraftRecord | Judged) -> None:
        if isinstance(item, CraftRecord):
            self.crafting = item
        else:
            self.judged.append(item)

    def frame(self) -> Moment:
        return Moment(len(self.judged), self.crafting)

    def show_frame(self, frame: Moment) -> None:
        shown = self.judged[: frame.judged]
        self.view.update(shown)
        if shown:
            self.view.say(f"called {self.wish.wanted}: share of victims, 95 % interval")
        else:
            self.view.say(self._crafting_words(frame.crafting))
        self._show_thrown(shown)

    def step_seen(self) -> str:
        if shown := self.judged[: self.seen.judged]:
            return shown[-1].defense
        return f"craft step {self.seen.crafting.step}"

    def clear(self) -> None:
        self.judged, self.crafting, self.batch = [], None, None
        self.source.refresh()
        self._lay_out()

    def _lay_out(self) -> None:
        self.wish = wish_of(self.source.scenario)
        self.view.lay_out(self.chosen)
        self.view.say(f"called {self.wish.wanted}: share of victims, 95 % interval")
        self._show_thrown([])
        self.redraw_kept()

    def _show_thrown(self, shown: Sequence[Judged]) -> None:
        """What is thrown away by the defense that is looked at, or else by the latest filter."""
        looked = self.looked
        mine = [j for j in shown if (j.defense == looked if looked else j.screenings)]
        self.thrown.show(self.source.scenario, mine[-1] if mine else None, looked)

    def look_at(self, name: str) -> None:
        """Show what this defense throws away; "": the latest filter's."""
        with self.canvas.lock:
            self.looked = name
            self._show_thrown(self.judged[: self.seen.judged] if self.seen else [])

    def total(self) -> int:
        crafting = bool(self.crafting) or (not self.judged and not self.source.there)
        return crafting * self.attack.settings.craft_steps + len(self.chosen)

    def work(self) -> float:
        rows = len(self.source.scenario.train)
        crafting = not self.source.there and pace.crafting_work(self.attack, rows)
        models = len(ARMS) * (self.count + 1) * len(self.chosen)
        return crafting + pace.training_work(self.attack, rows, models)

    def pictures(self):
        return self.source.scenario.train

    def curve(self):
        """The share of victims that turned, by the place of the defense among all."""
        found = [j for j in self.judged if j.records]
        return [DEFENSES.index(j.defense) for j in found], [j.rate().rate for j in found]

    def kept(self) -> None:
        self.view.compare([line for line in (self.ghost, *self.named) if line], DEFENSES)

    # ── in numbers and words ──────────────────────────────────────────────────────────────────

    def guessed(self) -> None:
        if self.guess is not None:
            self.view.guess_at(self.guess / self.question.high)

    def describe(self) -> str:
        about = f"Defenses against poisons that make a {self.wish.true} {self.wish.wanted}. "
        if not (moment := self.seen):
            return f"{about}None has been judged yet."
        if not (shown := self.judged[: moment.judged]):
            return f"{about}{self._crafting_words(moment.crafting)}."
        return f"{about}{self.batch.words}; {'; '.join(j.words for j in shown)}."

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def choose(self, name: str) -> None:
        """The defense whose settings are shown under "Settings for the next run"."""
        self.set_up = name
        self.show_controls()

    def judge_it(self, wanted: bool) -> None:
        """Whether the defense that is set up is judged in the next run."""
        before = self.waiting.get("chosen", self.chosen)
        names = {*before, self.set_up} if wanted else {*before} - {self.set_up}
        self.later(chosen=among(names))

    def show_controls(self) -> None:
        show_defense(self)

    def check(self, values: dict[str, object]) -> None:
        self._defended(values)

    def apply(self, values: dict[str, object]) -> None:
        self.source.attack = self._defended(values)
        self.chosen = values.get("chosen", self.chosen)
        self.count, self.seed = values.get("victims", self.count), values.get("seed", self.seed)
        self.wait = values.get("wait", self.wait)

    def _defended(self, values: dict[str, object]) -> Attack:
        """The attack with its defenses' settings changed. Raises ValueError."""
        own = {k: v for k, v in values.items() if k in DEFENSE}
        defense = dataclasses.replace(self.attack.defense, **own)
        return dataclasses.replace(self.attack, defense=defense)

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def own(self) -> dict[str, object]:
        return {"seed": self.seed, "wanted": self.count, "defenses": ",".join(self.chosen)}

    def adopt(self, attack: Attack, own: dict[str, object]) -> None:
        self.source.refuse_codes()
        if not 1 <= own["wanted"] <= 1000:
            raise ValueError("This code wants a number of victims out of range, 1 to 1000.")
        chosen = among(own["defenses"].split(","))
        self.source.attack, self.chosen = attack, chosen
        self.seed, self.count = own["seed"], own["wanted"]
