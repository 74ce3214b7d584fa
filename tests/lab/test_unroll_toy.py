"""The toy of UnrollLab."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab.unroll_toy import make_toy


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_arrows_are_the_gradient(steps):
    toy = make_toy(3)
    double = lambda t: t.double()  # noqa: E731
    toy = type(toy)(
        double(toy.x),
        toy.y,
        double(toy.poisons),
        double(toy.target),
        {k: double(w) for k, w in toy.params.items()},
    )
    slope, path = toy.look_ahead(toy.poisons, steps, 0.5)
    assert len(path) == steps + 1
    for i in range(toy.poisons.numel()):
        h = torch.zeros_like(toy.poisons).flatten()
        h[i] = 1e-6
        ends = [
            toy.adversarial_loss(toy.unroll(toy.poisons + s * h.view(-1, 2), steps, 0.5)[-1])
            for s in (1, -1)
        ]
        assert abs((ends[0] - ends[1]) / 2e-6 - slope.flatten()[i]) < 1e-7
