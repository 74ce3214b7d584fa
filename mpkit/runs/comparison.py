"""Methods against defenses: what is tried, on drawn targets, and what came of it.

Poisons are crafted once a target, and judged under every defense. Beside them stand clean victims
under the same defenses, which say what a defense costs where nobody attacks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence

from torch import Tensor

from mpkit.data.schema import built
from mpkit.defenses.defended import Screening
from mpkit.defenses.defense import Defense
from mpkit.defenses.private import privacy_spent, privacy_told
from mpkit.device import Plan
from mpkit.evaluation.rates import Mean, Rate, clustered_rate, fallen, mean, percent
from mpkit.evaluation.tally import tally
from mpkit.finetuning import WORDS
from mpkit.metapoison import poisons_of
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.grid import Pair, key_of, with_pair
from mpkit.runs.prepared import Prepared, prepare
from mpkit.runs.saved import from_dict, to_dict

CLEAN = "clean"
"""The arm, and what stands in the place of a method, where nothing is poisoned."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """An arm of an attack under its defense; on one target where it has a pair."""

    attack: Attack
    arm: str = "poisoned"

    def on(self, pair: Pair) -> Trial:
        """The same on a target."""
        return Trial(with_pair(self.attack, pair), self.arm)

    @property
    def key(self) -> str:
        return f"{self.arm} {key_of(self.attack)}"

    @property
    def group(self) -> tuple[Attack, str]:
        """What trials have in common that are judged on the same poisons."""
        return dataclasses.replace(self.attack, defense=Defense()), self.arm


def trials(
    given: dict,
    *,
    methods: Sequence[str],
    defended: Sequence[str],
    defenses: Sequence[str],
    budgets: Sequence[float],
    tunings: Sequence[str],
    epsilons: Sequence[float | None] = (None,),
) -> list[Trial]:
    """All there are, without targets: clean victims under every defense, and every method; those of
    `defended` under every defense, the others without. `given` as for `make_attack`, whose usual
    values for a method and a tuning each has; None: its ε. Raises ValueError as it does."""
    found: dict[Trial, None] = {}
    for tuning in tunings:
        for defense in defenses:
            usual = make_attack(**given | {"fine_tune": tuning, "defense": defense})
            found[Trial(usual, CLEAN)] = None
        for budget, epsilon, method in itertools.product(budgets, epsilons, methods):
            own = {"fine_tune": tuning, "budget": budget, "method": method}
            own |= {} if epsilon is None else {"epsilon": epsilon}
            for defense in defenses if method in defended else ("none",):
                found[Trial(make_attack(**given | own | {"defense": defense}))] = None
    return list(found)


def groups(some: Sequence[Trial]) -> list[list[Trial]]:
    """Trials in groups that are judged on the same poisons."""
    found: dict[tuple, list[Trial]] = {}
    for trial in some:
        found.setdefault(trial.group, []).append(trial)
    return list(found.values())


def measured(group: Sequence[Trial], plan: Plan | None = None) -> Iterator[dict]:
    """A row of each trial of one group. What goes wrong becomes a row that says what `failed`: one
    that breaks must not end hours of others."""
    made, broken = None, ""
    for trial in group:
        began, row = time.perf_counter(), {"arm": trial.arm, "attack": to_dict(trial.attack)}
        try:
            if broken:
                raise ValueError(broken)
            if made is None:
                made = _made(trial, plan)
                row["crafting"] = round(time.perf_counter() - began, 2)
            row |= _judged(trial, *made)
        except MemoryError:
            raise
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            broken = "" if made else f"{kind}{error}"
            row["failed"] = f"{kind}{error}"
        yield row | {"seconds": round(time.perf_counter() - began, 2)}


def _made(trial: Trial, plan: Plan | None) -> tuple[Prepared, Tensor | None]:
    """A trial's attack, ready, and its poisons; none where nothing is poisoned."""
    # Of a defense that cannot be had here the others must not suffer.
    ready = prepare(dataclasses.replace(trial.attack, defense=Defense()), False, plan, plan)
    if trial.arm == CLEAN:
        return ready, None
    *_, (state, _) = ready.craft()
    return ready, poisons_of(ready.scenario, state, ready.attack.settings)


def _judged(trial: Trial, ready: Prepared, poisons: Tensor | None) -> dict:
    """What is counted of the victims under the trial's defense."""
    defense, arms = trial.attack.defense, (trial.arm,)
    kept, counts = ready.screened(poisons, arms, None, defense)
    *_, (_, victims) = ready.judge(poisons, arms, None, defense, kept)
    found = {"tally": tally(victims, trial.arm), "trained_on": len(ready.scenario.train)}
    return found | ({"screening": dataclasses.asdict(counts[trial.arm])} if counts else {})


# ── what came of it ─────────────────────────────────────────────────────────────────────────────


def trial_of(row: dict) -> Trial:
    """The trial that a row is of. Raises KeyError, TypeError, ValueError for what is no row."""
    if not isinstance(row["tally"], dict) or row["arm"] not in ("poisoned", CLEAN):
        raise ValueError("no arm, or no tally")
    return Trial(from_dict(row["attack"]), row["arm"])


@dataclasses.dataclass(frozen=True)
class Entry:
    """A method under a defense, over all its targets: victims that turned, targets that fell, and
    the victims' accuracy, with that of clean victims under the same defense, and how many of
    those turned. `price`: what the defense costs clean victims, in accuracy. Of a filter: the
    shares of the poisons that it caught, and of other pictures that it lost, here and in clean
    data. `epsilon` bounds δ; `epsilon_dp` is what dp-sgd spends of privacy, and `privacy` says
    so, or why it is not known. What is not known is None. `seconds` of judging a target."""

    fine_tune: str
    budget: float
    method: str
    defense: str
    settings: str
    targets: int
    turned: Rate
    fell: Rate
    accuracy: Mean | None
    diverged: int
    clean_turned: Rate | None
    clean_accuracy: Mean | None
    price: float | None
    caught: float | None
    lost: float | None
    lost_clean: float | None
    seconds: float
    epsilon: float
    epsilon_dp: float | None = None
    privacy: str | None = None

    @property
    def panel(self) -> tuple[str, str, str]:
        """What trains, how much is poisoned and ε, in words: what stands in one table."""
        share = f"{percent(self.budget)} poisoned"
        return WORDS[self.fine_tune], share, f"ε = {255 * self.epsilon:.4g}/255"

    @property
    def flat(self) -> dict[str, object]:
        """All of it under plain names, for a table."""
        found = {}
        for name, value in vars(self).items():
            if isinstance(value, Rate):
                found[f"{name}_share"] = value.rate
            parts = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else None
            found |= {f"{name}_{k}": v for k, v in parts.items()} if parts else {name: value}
        return found


def entries(rows: Sequence[dict]) -> list[Entry]:
    """The rows, each target's, brought together: methods in the order in which they come."""
    cells: dict[tuple, list[dict]] = {}
    for row in rows:
        trial = trial_of(row)
        a, s = trial.attack, trial.attack.settings
        name = (a.fine_tune, a.budget, s.epsilon, s.method, a.defense)
        cells.setdefault(name if trial.arm != CLEAN else (a.fine_tune, a.defense), []).append(row)
    clean = {name: _Counts(cell) for name, cell in cells.items() if len(name) == 2}
    return [_entry(name, _Counts(cell), clean) for name, cell in cells.items() if len(name) == 5]


class _Counts:
    """What is counted over the rows of one cell."""

    def __init__(self, rows: Sequence[dict]):
        tallies = [row["tally"] for row in rows]
        self.n = len(rows)
        self.each = [(t["success"]["successes"], t["success"]["n"]) for t in tallies]
        known = [t["accuracy"] for t in tallies if t["accuracy"] is not None]
        self.accuracy = mean(known) if known else None
        self.turned = clustered_rate(*zip(*self.each, strict=True))
        self.diverged = sum(t["diverged"] for t in tallies)
        self.seconds = sum(row["seconds"] - row.get("crafting", 0) for row in rows) / self.n
        some = [built(Screening, row["screening"]) for row in rows if "screening" in row]
        self.caught = sum(s.caught_share for s in some) / len(some) if some else None
        self.lost = sum(s.lost_share for s in some) / len(some) if some else None
        self.epsilon_dp, self.privacy = _private(rows[0])


def _private(row: dict) -> tuple[float | None, str | None]:
    """ε_DP of the victims of a row, as of all rows of its cell, and what is to be said of it."""
    a = trial_of(row).attack
    if a.defense.defense != "dp-sgd":
        return None, None
    if "trained_on" not in row:
        return None, "ε_DP: an earlier mpkit did not note how many pictures there were"
    given = row["trained_on"], a.victim_recipe, a.defense
    with contextlib.suppress(ImportError):
        return privacy_spent(*given), privacy_told(*given)
    return None, privacy_told(*given)


def _entry(name: tuple, mine: _Counts, clean: dict[tuple, _Counts]) -> Entry:
    fine_tune, budget, epsilon, method, defense = name
    twin, free = clean.get((fine_tune, defense)), clean.get((fine_tune, Defense()))
    known = twin and free and twin.accuracy and free.accuracy
    return Entry(
        fine_tune=fine_tune,
        budget=budget,
        method=method,
        defense=defense.defense,
        settings=defense.in_words,
        targets=mine.n,
        turned=mine.turned,
        fell=fallen(*zip(*mine.each, strict=True)),
        accuracy=mine.accuracy,
        diverged=mine.diverged,
        clean_turned=twin and twin.turned,
        clean_accuracy=twin and twin.accuracy,
        price=free.accuracy.value - twin.accuracy.value if known else None,
        caught=mine.caught,
        lost=mine.lost,
        lost_clean=twin and twin.lost,
        seconds=mine.seconds,
        epsilon=epsilon,
        epsilon_dp=mine.epsilon_dp,
        privacy=mine.privacy,
    )
