"""Where a lab's poisons come from."""

from __future__ import annotations

import torch

from mpkit.lab.poison_source import rescaled
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from tests.lab.conftest import SMALL


def test_rescaled_poisons():
    scenario = prepare(make_attack("ci", **SMALL)).scenario
    bases = scenario.base_images
    poisons = (255 * bases).round().clamp(10, 245).byte() + 10
    assert torch.allclose(rescaled(scenario, poisons, 26, 26) * 255, poisons.float(), atol=1e-3)
    assert torch.allclose(rescaled(scenario, poisons, 0, 26), bases, atol=0.5 / 255 + 1e-6)
