"""What one defense was worth against given poisons, in numbers and words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor

from mpkit.data import Dataset
from mpkit.defenses.defended import Screening, defended_victims, screened, screening
from mpkit.defenses.defense import DEFENSES, Defense, kind_of
from mpkit.defenses.partition import Voting, certified_shares, partition, votes_of
from mpkit.defenses.private import privacy_told
from mpkit.evaluation.rates import Rate, percent
from mpkit.evaluation.records import VictimRecord
from mpkit.evaluation.tally import diverged, success_rate, with_diverged
from mpkit.evaluation.victims import mean_accuracy, victim_seed
from mpkit.lab.kit.gallery import levels
from mpkit.runs.prepared import Prepared
from mpkit.telling import Tell

ARMS = ("poisoned", "clean")
"""Victims, and their twins without poisons, who tell what a defense costs where nobody attacks."""

QUICK = ("none", "deep-knn", "spectral", "clustering", "epic", "loss", "jpeg", "augment", "dp-sgd")
QUICK += ("partition",)
"""Those that take seconds: the others train far longer."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """A defense's victims; of a filter, what it did to each arm's training set (`screenings`), and
    the `rows` that it threw out of the poisoned one, the most suspicious first, with their
    `pictures` uint8 (D, C, H, W) and `labels`. `certified`: the share of test pictures whose answer
    no 0, 1, 2 … changed pictures can change, where that is known. `refused`: why the defense cannot
    be had here, or "". `privacy`: what it spends, in words, or ""."""

    defense: str
    records: tuple[VictimRecord, ...] = ()
    screenings: Mapping[str, Screening] = dataclasses.field(default_factory=dict)
    rows: Tensor | None = None
    pictures: Tensor | None = None
    labels: Tensor | None = None
    certified: Sequence[float] = ()
    refused: str = ""
    privacy: str = ""

    @property
    def kind(self) -> str:
        """A key of `mpkit.defenses.defense.KINDS`."""
        return kind_of(self.defense)

    def rate(self, arm: str = "poisoned") -> Rate:
        """Of the victims that give the target what the attacker wants, in an arm."""
        return success_rate(list(self.records), arm)

    @property
    def accuracy(self) -> float:
        """On test pictures, of the twins without poisons."""
        return mean_accuracy(list(self.records), "clean")

    @property
    def count(self) -> str:
        """3 of 4, and how many diverged."""
        found = self.rate()
        words = f"{found.successes} of {found.n}"
        return with_diverged(words, diverged(self.records, "poisoned"))

    @property
    def removed(self) -> str:
        """What a filter threw away, in a sentence; "" of others."""
        if not self.screenings:
            return ""
        found, clean = (self.screenings[arm] for arm in ARMS)
        total = clean.innocents
        return (
            f"It caught {found.caught} of {found.poisons} poisons and lost {found.lost} of "
            f"{found.innocents} innocents; from clean data it would remove {clean.lost} of {total}."
        )

    @property
    def words(self) -> str:
        """All of it, for those who cannot see the picture."""
        if self.refused:
            return f"{self.defense}: not here, as {self.refused}"
        clean = self.rate("clean")
        told = (
            f"{self.defense}: {self.rate()}, without poisons {clean.successes} of {clean.n}, "
            f"accuracy {percent(self.accuracy)}"
        )
        if len(self.certified) > 1:
            told += f", {percent(self.certified[1])} certified against one changed picture"
        if self.privacy:
            told += f", {self.privacy}"
        return f"{told}. {self.removed}" if self.removed else told


def judged(
    ready: Prepared, arms: Mapping[str, Dataset], defense: Defense, seed: int, tell: Tell | None
) -> Judged:
    """One defense, judged by `ready.attack.victims` fresh victims of each arm; where it does not go
    with the network, why."""
    a = ready.attack
    given = ready.victim_network, a.victim_recipe, arms
    how = {"defense": defense, "seed": seed, "plan": ready.victim_plan, "tell": tell}
    try:
        kept = screened(*given, **how)
        runs = defended_victims(ready.scenario, *given, victims=a.victims, kept=kept, **how)
        records = tuple(r for _, some in runs for r in some)  # of one arm after the other
    except ValueError as error:
        return Judged(defense.defense, refused=str(error))
    spent = privacy_told(len(ready.scenario.train), a.victim_recipe, defense)
    found = Judged(defense.defense, records, privacy=spent)
    if found.kind == "certified":
        shares = certified(ready, arms["clean"], defense, seed, tell)
        return dataclasses.replace(found, certified=shares)
    if not kept:
        return found
    poisons, mine = ready.scenario.bases.cpu(), kept["poisoned"]
    keep, scores = mine.keep.cpu(), mine.scores.cpu()
    rows = (~keep).nonzero().flatten()
    rows = rows[scores[rows].argsort(descending=True)]
    none = poisons[:0]  # clean data have no poisons
    caught = {arm: screening(kept[arm], poisons if arm == "poisoned" else none) for arm in ARMS}
    data = arms["poisoned"]
    some = rows.to(data.y.device)
    shown = {"rows": rows, "pictures": levels(data.x[some]), "labels": data.y[some].cpu()}
    return dataclasses.replace(found, screenings=caught, **shown)


def certified(
    ready: Prepared, data: Dataset, defense: Defense, seed: int, tell: Tell | None
) -> list[float]:
    """The share of test pictures that stay right whatever 0, 1, 2 … changed pictures do, down to
    the number at which it is none."""
    network, seeds = ready.victim_network, [victim_seed(seed, 0)]
    how = {"defense": defense, "plan": ready.victim_plan, "tell": tell}
    runs = partition(network, data.x, data.y, ready.attack.victim_recipe, seeds, **how)
    *_, (state, _) = runs
    test = ready.scenario.validation
    votes = votes_of(Voting(network, defense.parts), state, test.x)[0]
    return certified_shares(votes, test.y, defense.parts // 4 + 1)


def among(names: Sequence[str]) -> tuple[str, ...]:
    """Names of defenses in their usual order. Raises ValueError for others, and for none."""
    if odd := [name for name in names if name not in DEFENSES]:
        raise ValueError(f"defense {odd[0]!r} is unknown; there are: {', '.join(DEFENSES)}")
    if not names:
        raise ValueError('no defense is left to be judged: take one more, or "none" alone')
    return tuple(name for name in DEFENSES if name in names)
