"""Fresh victims and their twins: what each arm trains on, and whose seed is whose."""

from __future__ import annotations

import pytest
import torch
from mpkit.lab.victims_arrivals import arrive, pictures

from mpkit.evaluation.records import ARMS
from mpkit.evaluation.victims import noise_poisons
from mpkit.runs.prepared import prepare
from tests.lab.conftest import small_attack


@pytest.fixture(scope="module")
def ready():
    return prepare(small_attack(victim_epochs=1), progress=False)


@pytest.fixture
def sources(ready):
    s = ready.scenario
    levels = (255 * s.base_images).round()
    poisons = torch.where(levels > 127, levels - 20, levels + 20).to(torch.uint8)
    return poisons, lambda share: pictures(s, poisons, share, 0.1, seed=3)


@pytest.mark.parametrize(("share", "change"), [(0, 0), (50, 10), (100, 20), (150, 30)])
def test_a_share_of_the_change_is_what_poisoned_victims_get(share, change, ready, sources):
    s, (_, of) = ready.scenario, sources
    found = of(share)["poisoned"]
    away = (255 * (found[s.bases] - s.base_images)).round().abs()
    assert set(away.unique().tolist()) == {change}
    others = [i for i in range(len(s.train)) if i not in s.bases.tolist()]
    assert torch.equal(found[others], s.train.x[others])


def test_the_controls_are_the_clean_pictures_and_random_noise(ready, sources):
    s, (_, of) = ready.scenario, sources
    found = of(100)
    assert set(found) == set(ARMS)
    assert torch.equal(found["clean"], s.train.x)
    assert torch.equal(found["noise"][s.bases], noise_poisons(s, 0.1, 3).float() / 255)


def test_some_victims_are_those_that_all_together_would_have_been(ready, sources):
    found = sources[1](100)
    some = arrive(ready, found, range(1, 3), seed=5).records
    every = arrive(ready, found, range(3), seed=5).records
    assert {(r.arm, r.victim) for r in some} == {(arm, v) for arm in ARMS for v in (1, 2)}
    late = {(r.arm, r.victim): r for r in every}
    for r in some:
        known = late[r.arm, r.victim]
        assert r.accuracy == known.accuracy
        assert r.adversarial_probability == pytest.approx(known.adversarial_probability, abs=1e-5)


def test_where_nothing_is_changed_twins_are_one(ready, sources):
    found = sources[1](0) | {"noise": ready.scenario.train.x}
    records = arrive(ready, found, range(2), seed=5).records
    for v in range(2):
        said = {r.adversarial_probability for r in records if r.victim == v}
        assert max(said)[0] == pytest.approx(min(said)[0], abs=1e-6)
