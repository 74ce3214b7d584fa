"""What victims and their twins train on, arm by arm."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpkit.evaluation.records import ARMS
from mpkit.evaluation.victims import noise_poisons
from mpkit.lab.victims import arm_sources
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
