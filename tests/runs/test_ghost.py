"""The mean change, what it looks like, and which poisons are shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpkit.runs.ghost import changes, likeness, spread
from tests.runs.conftest import changed, levels, scenario


def test_changes_are_those_of_a_plain_difference():
    s = scenario(3, poisons=9)
    found = changed(s, 7)
    delta = found.numpy().astype(int) - levels(s.base_images)
    told = changes(s, found)
    assert np.allclose(told.mean, delta.mean(0))
    assert np.allclose(told.sizes, abs(delta).mean((1, 2, 3)))
    assert told.largest == abs(delta).max()


def test_likeness_is_the_cosine_with_the_target_less_its_mean_in_each_channel():
    draw = np.random.default_rng(0)
    delta, target = draw.normal(size=(3, 6, 5)), draw.random((3, 6, 5))
    seen = np.stack([channel - channel.mean() for channel in target])
    angle = (delta * seen).sum() / np.sqrt((delta**2).sum() * (seen**2).sum())
    assert likeness(torch.tensor(delta), torch.tensor(target)) == pytest.approx(angle, rel=1e-12)


def test_likeness_is_of_what_is_seen_and_not_of_how_bright_it_is():
    target = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = target - target.mean((1, 2), keepdim=True)
    brighter = target + torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    for picture in (target, brighter, 0.3 * target):
        assert likeness(seen, picture) == pytest.approx(1, abs=1e-6)
        assert likeness(-2 * seen, picture) == pytest.approx(-1, abs=1e-6)
    assert likeness(torch.ones(3, 8, 8), target) == pytest.approx(0, abs=1e-6)
    for nothing in (torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.5)):
        assert likeness(seen, nothing) == 0
    assert likeness(torch.zeros(3, 8, 8), target) == 0


def test_poisons_are_shown_at_equal_distances_from_the_most_changed_to_the_least():
    sizes = torch.tensor([3.0, 9.0, 1.0, 5.0, 7.0])
    assert spread(sizes, 5) == spread(sizes, 8) == [1, 4, 3, 0, 2]
    assert spread(sizes, 3) == [1, 3, 2]
    assert spread(sizes, 1) == [1]
    assert spread(torch.zeros(4), 4) == [0, 1, 2, 3]
    many = spread(torch.arange(5000.0), 6)
    assert many[0] == 4999
    assert many[-1] == 0
    assert len(set(many)) == 6
