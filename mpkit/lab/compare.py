"""CompareLab: what does it take? Several settings, the same targets, fresh victims, rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mpkit.data import Dataset
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import counted
from mpkit.evaluation.victims import VictimRecord
from mpkit.lab.compare_view import CompareView, Row
from mpkit.lab.kit import pace
from mpkit.lab.kit.attack_lab import ATTACK, CRAFTING
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.dials import Control, dial, show
from mpkit.lab.kit.panel import Lab, Question
from mpkit.lab.kit.runner import Put
from mpkit.lab.kit.touch import Exhibit, said_of
from mpkit.lab.victims_view import said_by
from mpkit.lab.wish import placed, wanted_by, wish_of
from mpkit.metapoison import CraftRecord, poisons_of
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.scenario import Scenario

Pair = tuple[str, str, int]

DEPTHS = {f"K = {k}": {"unroll_steps": k} for k in (1, 2, 4)}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One attack of one variant, judged: mean L_adv of its surrogates at the end of crafting, its
    victims with those of the control arms, and its poisons, uint8 (P, C, H, W)."""

    variant: str
    pair: Pair
    loss: float
    victims: tuple[VictimRecord, ...]
    poisons: Tensor


class Crafted(NamedTuple):
    """A craft step of a variant on a pair, and the poisons after it, uint8 (P, C, H, W)."""

    variant: str
    pair: Pair
    record: CraftRecord
    poisons: Tensor


class Moment(NamedTuple):
    """What there was to be shown: so many outcomes, and the step under way or the last outcome."""

    count: int
    now: Crafted | Outcome


class CompareLab(Lab):
    """Craft with each of several settings, train fresh victims, and compare the success rates.

    `variants`: name → what `mpkit.make_attack` is given besides `given`; by default K = 1, 2
    and 4. Each meets the same `pairs` (targets, poison classes; drawn by `seed`, or a list of them:
    (target class, poison class, index of the target)) and victims of the same seeds, so that only
    what is varied differs. `arms`: which of "poisoned", "clean" and "noise" are trained. Poisons
    are crafted once where only the victims differ. Raises ValueError for settings out of range.
    """

    name, unit = "compare", "step"

    def __init__(
        self,
        variants: Mapping[str, Mapping[str, object]] | None = None,
        pairs: int | Sequence[Pair] = 2,
        victims: int = 4,
        *,
        seed: int = 0,
        arms: Sequence[str] = ("poisoned",),
        question: Question | None = None,
        large: bool = False,
        **given,
    ):
        if unknown := [arm for arm in arms if arm not in ARMS]:
            raise ValueError(f"arms are among {', '.join(ARMS)}, not {unknown[0]!r}")
        self.attack = make_attack(**given, victims=victims)
        self.variants = {
            name: make_attack(**(given | dict(values)), victims=victims)
            for name, values in (variants or DEPTHS).items()
        }
        self.arms = tuple(arms)
        self.outcomes: list[Outcome] = []
        self.scenes: dict[tuple[str, Pair], Scenario] = {}
        self.exhibit = Exhibit(self.say)
        self._draw(pairs, seed)
        self.view = CompareView(large)
        self._lay_out()
        later = [c.widget for c in self._make_controls().values()]
        pictures = [self.exhibit.widget]
        self.assemble(self.view.figure, [], question, later=later, pictures=pictures)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def _drawn(self, pairs: int | Sequence[Pair], seed: int) -> tuple[Sequence[Pair], Dataset]:
        """The targets, drawn or given, and what is trained on. Raises ValueError where
        there are too few."""
        train = load_scenario(self.attack, progress=False).train
        drawn = draw_pairs(train.classes, pairs, seed, 5) if isinstance(pairs, int) else pairs
        return drawn, train

    def _draw(self, pairs: int | Sequence[Pair], seed: int) -> None:
        self.drawn, self.train = self._drawn(pairs, seed)
        self.pairs, self.seed = pairs, seed

    def attacks(self) -> list[tuple[str, Pair, Attack]]:
        """All that is to be crafted, pair after pair."""
        found = []
        for target, poison, index in self.drawn:
            for name, attack in self.variants.items():
                place = placed(attack, target, poison) | {"target_index": (index,)}
                found.append((name, (target, poison, index), dataclasses.replace(attack, **place)))
        return found

    def items(self) -> Iterator[Crafted | Outcome]:
        kept: dict[Attack, tuple[Tensor, float]] = {}
        tell = self.within()
        for name, pair, attack in self.attacks():
            key = attack.without_victims()
            ready = prepare(attack, progress=False)
            yield Put(partial(self._open, name, pair, ready.scenario))
            if key not in kept:
                for state, record in ready.craft(tell=tell):
                    poisons = poisons_of(ready.scenario, state, attack.settings)
                    yield Crafted(name, pair, record, poisons)
                kept[key] = poisons, record.loss
            poisons, loss = kept[key]
            *_, (_, victims) = ready.judge(poisons, self.arms, tell)
            yield Outcome(name, pair, loss, tuple(victims), poisons)

    def take(self, item: Crafted | Outcome) -> None:
        self.now = item
        if isinstance(item, Outcome):
            self.outcomes.append(item)

    def clear(self) -> None:
        self.outcomes = []
        self._lay_out()

    def frame(self) -> Moment:
        return Moment(len(self.outcomes), self.now)

    def show_frame(self, frame: Moment) -> None:
        now = frame.now
        self.view.update(self.rows(frame.count))
        self.view.say(self._doing(frame))
        scenario = self.scenes[now.variant, now.pair]
        if self.exhibited != (now.variant, now.pair):
            self.exhibited = now.variant, now.pair
            self.exhibit.lay_out(scenario, wish_of(scenario).true)
        said = said_by(now.victims, scenario) if isinstance(now, Outcome) else []
        words = now.variant + (f"\n{said_of(scenario.train.classes, said)}" if any(said) else "")
        self.exhibit.show(now.poisons, self._bound(now.variant), said=words)

    def step_seen(self) -> str:
        count, now = self.seen
        if isinstance(now, Crafted):
            return f"craft step {now.record.step}, {now.variant}"
        return f"attack {count} of {len(self.attacks())}"

    def _bound(self, variant: str) -> float:
        """What the change is shown against: ε, or the colours' where that alone acts."""
        bounds = self.variants[variant].settings.bounds
        return bounds.get("epsilon") or max(bounds.values())

    def _open(self, variant: str, pair: Pair, scenario: Scenario) -> None:
        """Remember whom an attack attacks: of its training set the bases alone."""
        rows = scenario.bases.tolist()
        bases = scenario.train.subset(rows)
        few = {"train": bases, "validation": bases, "bases": torch.arange(len(rows))}
        with self.lock:
            self.scenes[variant, pair] = dataclasses.replace(scenario, **few)

    def total(self) -> int:
        steps, seen = 0, set()
        for _, _, attack in self.attacks():
            key = attack.without_victims()
            steps += 1 + (key not in seen) * attack.settings.craft_steps
            seen.add(key)
        return steps

    def work(self) -> float:
        rows = 0
        for _, _, attack in self.attacks():
            n = attack.n_train or len(self.train)
            rows += pace.crafting_work(attack, n)
            rows += pace.training_work(attack, n, len(self.arms) * attack.victims)
        return rows

    def pictures(self):
        return self.train

    def curve(self):
        rates = [r.rate.rate if r.rate else 0.0 for r in self.rows()]
        return (list(range(len(rates))), rates) if self.outcomes else ((), ())

    # ── in numbers and words ──────────────────────────────────────────────────────────────────

    def rows(self, count: int | None = None) -> list[Row]:
        """One row a variant and arm, in the order they were given; of the first `count` attacks."""
        found = []
        for name in self.variants:
            mine = [o for o in self.outcomes[:count] if o.variant == name]
            for arm in self.arms:
                label = name if arm == "poisoned" else f"{name}, {_CALLED[arm]}"
                records = [r for o in mine for r in o.victims if r.arm == arm]
                losses = [o.loss for o in mine] if arm == "poisoned" else []
                epochs = self.variants[name].victim_recipe.epochs
                found.append(Row(label, arm, records, losses, epochs))
        return found

    def _doing(self, moment: Moment) -> str:
        now = moment.now
        if not isinstance(now, Crafted):
            return "share of fresh victims that turned"
        target, poison, _ = now.pair
        place = placed(self.variants[now.variant], target, poison)
        wanted = wanted_by(dataclasses.replace(self.variants[now.variant], **place))
        return f"crafting {target} → {wanted}, {now.variant}: step {now.record.step}"

    def describe(self) -> str:
        about = f"Success of {len(self.variants)} settings on the same targets. "
        if not (moment := self.seen) or not moment.count:
            return about + "Nothing has been counted yet." + self.exhibit.describe()
        some = [r for r in self.rows(moment.count) if r.records]
        counts = (f"{r.label}: {counted(r.records, r.arm, r.epochs)}" for r in some)
        return f"{about}{'; '.join(counts)}.{self.exhibit.describe()}"

    # ── the picture and its controls ──────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        self.view.lay_out(self.rows())
        self.scenes, self.exhibited = {}, None
        first = load_scenario(self.attacks()[0][2], progress=False)
        self.exhibit.lay_out(first, wish_of(first).true)
        self.redraw_kept()

    def guessed(self) -> None:
        if self.guess is not None:
            self.view.guess_at(self.guess / self.question.high)

    def _make_controls(self) -> dict[str, Control]:
        victims, say = ATTACK["victims"], self.say
        self.controls = {
            "victims": dial(
                victims,
                self.attack.victims,
                lambda v: self.later(victims=v),
                say,
                label="victims a target",
                slider=(1, 32),
            ),
            "pairs": Number("targets", 1, 1, 20, lambda v: self.later(pairs=v), say, near=True),
            "seed": dial(
                CRAFTING["seed"],
                self.seed,
                lambda v: self.later(seed=v),
                say,
                label="targets' seed",
            ),
        }
        return self.controls

    def show_controls(self) -> None:
        count = self.pairs if isinstance(self.pairs, int) else len(self.pairs)
        now = {"victims": self.attack.victims, "pairs": count, "seed": self.seed}
        show(self.controls, now, ATTACK)

    def check(self, values: dict[str, int]) -> None:
        self._drawn(values.get("pairs", self.pairs), values.get("seed", self.seed))

    def apply(self, values: dict[str, int]) -> None:
        if victims := values.get("victims"):
            several = {"victims": victims}
            self.attack = dataclasses.replace(self.attack, **several)
            self.variants = {
                name: dataclasses.replace(attack, **several)
                for name, attack in self.variants.items()
            }
        self._draw(values.get("pairs", self.pairs), values.get("seed", self.seed))


_CALLED = {"clean": "no poison", "noise": "random noise"}
