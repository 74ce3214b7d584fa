"""Tests of mpkit.defenses.defended."""

from __future__ import annotations

import dataclasses
import re

import torch

from mpkit.defenses import filters
from mpkit.defenses.defended import Screening, defended_victims, screened, screening
from mpkit.defenses.defense import Defense
from mpkit.defenses.filters import Filtered
from mpkit.runs.prepared import Prepared
from mpkit.training import train
from tests.test_house import ROOT


def bases(ready: Prepared) -> torch.Tensor:
    return (255 * ready.scenario.base_images).to(torch.uint8)


def test_without_a_defense_each_arm_trains_as_it_does_beside_the_others(small: Prepared):
    *_, (_, together) = small.judge(bases(small))
    a, alone = small.attack, []
    runs = defended_victims(
        small.scenario,
        small.victim_network,
        a.victim_recipe,
        small.arms(bases(small)),
        defense=Defense(),
        victims=a.victims,
        seed=a.settings.seed,
        plan=small.victim_plan,
    )
    epochs = []
    for epoch, records in runs:
        epochs.append(epoch)
        alone += records
    assert alone == together
    assert epochs == list(range(1, 3 * a.victim_recipe.epochs + 1))


def test_a_filter_decides_what_victims_train_on(small: Prepared):
    defense = Defense(defense="loss", suspected=0.3)
    arms = {"poisoned": small.arms(bases(small))["poisoned"]}
    a = small.attack
    given = small.victim_network, a.victim_recipe
    kept = screened(*given, arms, defense=defense, seed=0)
    assert not kept["poisoned"].keep.all()

    def judged(kept):
        *_, (_, found) = defended_victims(
            small.scenario, *given, arms, defense=defense, victims=1, seed=0, kept=kept
        )
        return found

    all_kept = {"poisoned": Filtered(torch.ones(80, dtype=torch.bool), torch.zeros(80))}
    assert judged(kept)[0].probabilities != judged(all_kept)[0].probabilities
    assert judged(None)[0] == judged(kept)[0]


def test_a_filter_can_look_before_the_end(small: Prepared):
    a, arms = small.attack, {"clean": small.scenario.train}
    half = Defense(defense="loss", looks_after=0.5)
    early = screened(small.victim_network, a.victim_recipe, arms, defense=half, seed=0)
    short = dataclasses.replace(a.victim_recipe, epochs=a.victim_recipe.epochs // 2)
    whole = Defense(defense="loss")
    wanted = screened(small.victim_network, short, arms, defense=whole, seed=0)
    assert torch.equal(early["clean"].scores, wanted["clean"].scores)
    late = screened(small.victim_network, a.victim_recipe, arms, defense=whole, seed=0)
    assert not torch.equal(late["clean"].scores, wanted["clean"].scores)


def test_a_screening_counts_poisons_and_innocents():
    keep = torch.tensor([True, False, False, True, True])
    found = screening(Filtered(keep, torch.zeros(5)), torch.tensor([1, 4]))
    assert (found.poisons, found.caught, found.innocents, found.lost) == (2, 1, 3, 1)
    assert (found.caught_share, found.lost_share) == (1 / 2, 1 / 3)


def test_a_screening_in_words():
    found = Screening(poisons=3, caught=2, innocents=7, lost=1)
    assert str(found) == "2 of 3 poisons and 1 of 7 other pictures"
    assert str(Screening(0, 0, 7, 1)) == "1 of 7 pictures, none of them a poison"


def test_the_filter_of_the_docs_filters(small: Prepared):
    text = (ROOT / "docs/extending.md").read_text("utf-8")
    code = re.search(r"```python\n(def unsure.*?)```", text, re.DOTALL)[1]
    names = vars(filters) | {"Tensor": torch.Tensor}
    exec(code, names)
    a, train_set = small.attack, small.scenario.train
    *_, (state, _) = train(small.victim_network, train_set.x, train_set.y, a.victim_recipe, [1])
    defense = Defense(defense="loss", suspected=0.2)
    found = names["unsure"](small.victim_network, state.pick(0), train_set, defense)
    assert int((~found.keep).sum()) == 16
    assert found.scores[~found.keep].min() >= found.scores[found.keep].max()
