"""Tests of mpkit.defenses.adversarial."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mpkit.defenses.adversarial import Adversarial, matching_slope
from mpkit.defenses.defense import Defense
from mpkit.defenses.trainee import trainer
from mpkit.functional import init
from mpkit.recipe import Recipe
from mpkit.streams import generator
from tests.blobs import dataset, last_layer, small_bn, small_net

DATA = dataset(24, 0)


def mismatch(net, params, poisons, y, targets, wanted):
    """1 − cos of the two gradients, by torch.autograd."""
    module = net().to_empty(device="cpu").double()
    module.load_state_dict(params)

    def slopes(x, y):
        loss = F.cross_entropy(module(x), y)
        found = torch.autograd.grad(loss, list(module.parameters()), create_graph=True)
        return torch.cat([g.flatten() for g in found])

    a, b = slopes(targets, wanted), slopes(poisons, y)
    return 1 - a @ b / (a.norm() * b.norm())


def test_the_slope_is_the_one_of_gradient_matching():
    state = init(small_net(), 0).map(lambda t: t.double())
    x, y = DATA.x.double(), DATA.y
    poisons, wanted = x[6:12].clone().requires_grad_(), torch.full((6,), 2)
    mismatch(small_net, state.params, poisons, y[6:12], x[:6], wanted).backward()
    found = matching_slope(small_net(), state, x[6:12], y[6:12], x[:6], wanted)
    assert torch.allclose(found, poisons.grad, atol=1e-9)


@pytest.mark.parametrize("net", [small_net, small_bn])
def test_half_of_each_batch_is_poisoned_within_the_bound_and_keeps_its_labels(net):
    bound, rows = 0.05, torch.arange(13)
    one = Adversarial(net(), DATA.x, DATA.y, Recipe(), 0, Defense(adversarial_bound=bound))
    x, y = one.batch(rows, generator(0, "test"))
    assert torch.equal(y, DATA.y[:13])
    assert torch.equal(x[:6], DATA.x[:6])
    moved = (x[6:] - DATA.x[6:13]).abs()
    assert 0.5 * bound < float(moved.mean()) <= float(moved.max()) <= bound + 1e-6
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1


def test_crafted_poisons_match_better_than_random_ones():
    def crafted(steps: int) -> float:
        defense = Defense(adversarial_bound=0.1, adversarial_steps=steps)
        one = Adversarial(small_net(), DATA.x, DATA.y, Recipe(), 0, defense)
        x, y = one.batch(torch.arange(24), generator(0, "test"))
        params = {k: w.double() for k, w in one.state.params.items()}
        wanted = y[12:].mode().values.expand(12)
        x = x.double()
        return mismatch(small_net, params, x[12:], y[12:], x[:12], wanted).item()

    params = {k: w.double() for k, w in init(small_net(), 0).params.items()}
    x, y = DATA.x.double(), DATA.y
    wanted = y[12:].mode().values.expand(12)
    before = mismatch(small_net, params, x[12:], y[12:], x[:12], wanted).item()
    assert crafted(10) < before - 0.05


def test_a_batch_of_one_and_a_last_layer_do():
    one = Adversarial(small_net(), DATA.x, DATA.y, Recipe(), 0, Defense())
    assert torch.equal(one.batch(torch.tensor([3]), generator(0))[0], DATA.x[3:4])
    module = last_layer()
    x, y = dataset(12, 0, 3).x.repeat(1, 1, 2, 2), torch.arange(12) % 3
    given = module, x, y, Recipe(epochs=1, batch=6), [1, 2]
    *_, (state, _) = trainer(Adversarial)(*given, defense=Defense())
    assert state.finite
