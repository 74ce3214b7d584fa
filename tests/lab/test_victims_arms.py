"""What victims and their twins train on, arm by arm."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpkit.evaluation.records import ARMS
from mpkit.evaluation.victims import noise_poisons
from mpkit.lab.victims import arm_sources
from mpkit.runs.prepared import prepare
from mpkit.settings import Settings
from tests.lab.conftest import small_attack

pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.fixture(scope="module")
def ready():
    return prepare(small_attack(victim_epochs=1), progress=False)


@pytest.fixture
def sources(ready):
    s = ready.scenario
    levels = (255 * s.base_images).round()
    poisons = torch.where(levels > 127, levels - 20, levels + 20).to(torch.uint8)
    used = dataclasses.replace(ready.attack.settings, epsilon=0.1)
    return poisons, lambda share: arm_sources(s, poisons, share, used, seed=3)


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


def test_the_noise_is_of_the_kind_and_the_strength_of_the_poisons(ready):
    s = ready.scenario
    poisons = (255 * s.base_images).round().to(torch.uint8)
    recolor = Settings(perturbation="recolor", epsilon_c=0.08)
    for strength in (50, 100):
        found = arm_sources(s, poisons, strength, recolor, seed=3)["noise"][s.bases]
        bound = 0.08 * strength / 100
        assert torch.equal(found, noise_poisons(s, 0.0, 3, bound, "recolor").float() / 255)
        assert 0 < (found - s.base_images).abs().max() <= bound + 1 / 255
