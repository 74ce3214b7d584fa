"""Victims that defend themselves: the same counting as `mpkit.evaluation.victims`.

Every arm is defended alike. What a filter throws out of the clean arm are false positives, and the
accuracy that its victims lose is the price of the defense.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense, kind_of
from mpkit.defenses.filters import FILTERS, Filtered
from mpkit.defenses.partition import Voting
from mpkit.defenses.trainers import TRAINERS
from mpkit.device import Plan
from mpkit.evaluation.records import VictimRecord
from mpkit.evaluation.victims import Watch, victim_seed, watched
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario
from mpkit.streams import stream
from mpkit.telling import Tell
from mpkit.training import train


@dataclasses.dataclass(frozen=True)
class Screening:
    """What a filter did to a training set in which the poisons are known: of `poisons` it dropped
    `caught`, of `innocents` it dropped `lost`."""

    poisons: int
    caught: int
    innocents: int
    lost: int

    @property
    def caught_share(self) -> float:
        """The true positive rate."""
        return self.caught / max(1, self.poisons)

    @property
    def lost_share(self) -> float:
        """The false positive rate."""
        return self.lost / max(1, self.innocents)

    def __str__(self) -> str:
        if not self.poisons:
            return f"{self.lost:,} of {self.innocents:,} pictures, none of them a poison"
        poisons = f"{self.caught:,} of {self.poisons:,} poisons"
        return f"{poisons} and {self.lost:,} of {self.innocents:,} other pictures"


def screening(found: Filtered, poisons: torch.Tensor) -> Screening:
    """How a filter did, where `poisons` (P,) are the rows of the poisons; none in clean data."""
    is_poison = torch.zeros_like(found.keep)
    is_poison[poisons] = True
    dropped = ~found.keep
    both, all_poisons = int((dropped & is_poison).sum()), int(is_poison.sum())
    return Screening(all_poisons, both, len(dropped) - all_poisons, int(dropped.sum()) - both)


def screened(
    network: nn.Module,
    recipe: Recipe,
    arms: Mapping[str, Dataset],
    *,
    defense: Defense,
    seed: int,
    plan: Plan | None = None,
    tell: Tell | None = None,
) -> dict[str, Filtered]:
    """What a filter says of each arm's training set, by a model of the defender's own that was
    trained on it, for the share `looks_after` of the epochs; {} where the defense is no filter."""
    if kind_of(defense.defense) != "filter":
        return {}
    found, seeds = {}, [stream(seed, "defender")]
    recipe = dataclasses.replace(recipe, epochs=max(1, round(defense.looks_after * recipe.epochs)))
    for arm, data in arms.items():
        *_, (state, _) = train(network, data.x, data.y, recipe, seeds, plan=plan, tell=tell)
        found[arm] = FILTERS[defense.defense](network, state.pick(0), data, defense)
    return found


def defended_victims(
    scenario: Scenario,
    network: nn.Module,
    recipe: Recipe,
    arms: Mapping[str, Dataset],
    *,
    defense: Defense,
    victims: int | range,
    seed: int,
    kept: Mapping[str, Filtered] | None = None,
    plan: Plan | None = None,
    tell: Tell | None = None,
    watch: Watch | None = None,
) -> Iterator[tuple[int, list[VictimRecord]]]:
    """As `train_victims`, of victims that defend themselves; one arm after the other, as each may
    have pictures of its own number.

    `arms`: arm → training set; `kept`: what `screened` gave for it. Yields (epoch, records): epochs
    are counted on from arm to arm, and an arm's records come with its last one.
    """
    numbers = range(victims) if isinstance(victims, int) else victims
    if not numbers:  # more ranks than victims
        yield recipe.epochs * len(arms), []
        return
    if kept is None:
        given = {"defense": defense, "seed": seed, "plan": plan, "tell": tell}
        kept = screened(network, recipe, arms, **given)
    trainer = TRAINERS.get(defense.defense)
    trainer = partial(trainer, defense=defense) if trainer else train
    judged = Voting(network, defense.parts) if defense.defense == "partition" else network
    before = 0
    for arm, data in arms.items():
        data = data.subset(kept[arm].keep) if arm in kept else data
        seeds = [victim_seed(seed, v) for v in numbers]
        runs = trainer(network, data.x, data.y, recipe, seeds, plan=plan, tell=tell)
        who = [(arm, v) for v in numbers]
        how = {"plan": plan, "watch": watch}
        for epoch, records in watched(scenario, judged, runs, recipe.epochs, who, **how):
            yield before + epoch, records
        before += recipe.epochs
