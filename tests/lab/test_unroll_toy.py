"""The toy of UnrollLab."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mpkit.lab.unroll_toy import make_toy, network, sgd_step


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


def test_a_step_is_that_of_torchs_own_sgd():
    toy = make_toy(1)
    leaves = {k: w.clone().requires_grad_() for k, w in toy.params.items()}
    optimizer = torch.optim.SGD(leaves.values(), lr=0.3)
    F.cross_entropy(network(leaves, toy.x), toy.y).backward()
    optimizer.step()
    found = sgd_step(toy.params, toy.x, toy.y, 0.3)
    assert all(torch.allclose(found[k], w) for k, w in leaves.items())


def test_training_has_begun_and_the_target_is_still_called_rightly():
    for seed in range(5):
        toy = make_toy(seed)
        said = network(toy.params, toy.x).argmax(1)
        assert (said == toy.y).float().mean() > 0.8
        assert toy.adversarial_loss(toy.params) > 0
        assert toy.y.bincount().tolist() == [20, 20]


def test_the_seed_decides_the_points_and_nothing_else_is_drawn():
    before = torch.get_rng_state()
    one, again, other = make_toy(3), make_toy(3), make_toy(4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.x, again.x)
    assert not torch.equal(one.poisons, other.poisons)


def test_poisons_are_of_class_one_in_every_step():
    toy = make_toy(0)
    far = toy.poisons + 100
    path = toy.unroll(far, 1, 0.5)
    x = torch.cat([far, toy.x])
    y = torch.cat([torch.ones(len(far)).long(), toy.y])
    wanted = sgd_step(toy.params, x, y, 0.5)
    assert all(torch.equal(path[1][k], w) for k, w in wanted.items())
