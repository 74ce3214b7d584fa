"""Tests of mpkit.defenses.friendly."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mpkit.defenses.defense import Defense
from mpkit.defenses.friendly import Friendly, divergence_slope, friendly_noise
from mpkit.defenses.trainee import trainer
from mpkit.evaluation.victims import predict
from mpkit.functional import init
from mpkit.recipe import Recipe
from mpkit.streams import generator
from mpkit.training import train
from tests.blobs import dataset, last_layer, small_net

DATA = dataset(60, 0)
BOUND = 32 / 255


def divergence(net, state, x, noise) -> torch.Tensor:
    """KL(f(x + n) ‖ f(x)) of each picture."""
    many = state.map(lambda t: t[None])
    before, after = (predict(net, many, p)[0].log_softmax(1) for p in (x, (x + noise).clamp(0, 1)))
    return (after.exp() * (after - before)).sum(1)


def test_the_slope_is_the_one_of_the_formula():
    net, state = small_net(), init(small_net(), 0).map(lambda t: t.double())
    x = DATA.x[:4].double()
    noisy = (x + 0.1 * torch.rand(x.shape)).requires_grad_()
    plain = small_net().to_empty(device="cpu").double()
    plain.load_state_dict(state.params)
    p, q = plain(noisy).softmax(1), plain(x).softmax(1)
    sum((p[i] * (p[i] / q[i]).log()).sum() for i in range(4)).backward()
    assert torch.allclose(divergence_slope(net, state, noisy.detach(), x), noisy.grad, atol=1e-9)


def test_friendly_noise_is_large_and_leaves_the_answer_as_it_is():
    net = small_net()
    *_, (state, _) = train(net, DATA.x, DATA.y, Recipe(epochs=20, batch=10), [0])
    found = friendly_noise(net, state.pick(0), DATA.x, BOUND, generator(0, "test"))
    assert found.dtype == torch.int8
    noise = found / 255
    assert float(noise.abs().max()) <= BOUND + 1e-6
    assert float(noise.abs().mean()) > 0.5 * BOUND
    random = BOUND * torch.randint(0, 2, noise.shape).float().mul(2).sub(1)
    random = random * noise.norm() / random.norm()  # no longer than the friendly one
    friendly, other = (
        float(divergence(net, state.pick(0), DATA.x, n).mean()) for n in (noise, random)
    )
    assert friendly < other / 3


def test_noise_is_added_from_an_eighth_of_the_epochs_on():
    recipe = Recipe(epochs=16, batch=10)
    one = Friendly(small_net(), DATA.x, DATA.y, recipe, 0, Defense(random_noise=0.01))
    rows = torch.arange(5)
    for epoch in range(2):
        one.prepare(epoch)
        assert torch.equal(one.batch(rows, generator(0))[0], DATA.x[:5])
    one.prepare(2)
    shift = one.batch(rows, generator(0))[0] - DATA.x[:5] - one.found[:5] / 255
    inside = (DATA.x[:5] > 0.1) & (DATA.x[:5] < 0.9)
    assert torch.allclose(shift[inside].abs(), torch.tensor(0.01), atol=1e-6)
    assert 0 < F.relu(shift[inside]).sign().mean() < 1


def test_a_last_layer_has_noise_found_through_the_frozen_ones():
    module = last_layer()
    x, y = dataset(12, 0, 3).x.repeat(1, 1, 2, 2), torch.arange(12) % 3
    recipe = Recipe(epochs=2, batch=6)
    runs = list(trainer(Friendly)(module, x, y, recipe, [1, 2], defense=Defense()))
    plain = list(train(module, x, y, recipe, [1, 2]))
    weights = [[state.params["head.weight"] for state, _ in each] for each in (runs, plain)]
    assert torch.allclose(weights[0][0], weights[1][0], atol=1e-6)  # no noise in the first epoch
    assert not torch.allclose(weights[0][1], weights[1][1], atol=1e-4)
