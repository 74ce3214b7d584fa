"""Tests of mpkit.defenses.private: clipping against a loop, ε_DP against the library's own."""

from __future__ import annotations

import math
import sys

import pytest
import torch
import torch.nn.functional as F

from mpkit.defenses import private
from mpkit.defenses.defense import Defense
from mpkit.defenses.private import Private, clipped_sum, privacy_spent
from mpkit.defenses.trainee import trainer
from mpkit.functional import State, init
from mpkit.recipe import Recipe
from mpkit.training import sgd_step
from tests.blobs import dataset, last_layer, small_bn, small_net

DATA = dataset(23, 0)


def plain_sum(net, state: State, x, y, clip: float) -> dict[str, torch.Tensor]:
    """By a loop of backward passes, one picture after the other."""
    net = net.to_empty(device="cpu")
    net.load_state_dict(state.params)
    total = {k: torch.zeros_like(w) for k, w in state.params.items()}
    for i in range(len(y)):
        net.zero_grad()
        F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]).backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters()))
        for k, p in net.named_parameters():
            total[k] += p.grad * min(1, clip / norm)
    return total


@pytest.mark.parametrize("clip", [0.1, 1.3, 1000])
def test_every_pictures_gradient_is_clipped(clip):
    net, state = small_net(), init(small_net(), 1)
    weight = torch.ones(9)
    found, loss = clipped_sum(net, clip, state, DATA.x[:9], DATA.y[:9], weight)
    expected = plain_sum(small_net(), state, DATA.x[:9], DATA.y[:9], clip)
    for k, g in found.items():
        assert torch.allclose(g, expected[k], atol=1e-6)
    if clip == 1000:  # nothing to clip
        moved, mean = sgd_step(net, state, DATA.x[:9], DATA.y[:9], 9.0)
        assert torch.allclose(
            moved.params["head.bias"], state.params["head.bias"] - found["head.bias"]
        )
        assert abs(float(loss) / 9 - float(mean)) < 1e-6


def one(batch: int = 7, **given) -> Private:
    return Private(small_net(), DATA.x, DATA.y, Recipe(batch=batch), 0, Defense(**given))


def test_without_noise_a_step_is_the_mean_of_clipped_gradients_over_the_expected_size(monkeypatch):
    monkeypatch.setattr(private, "LARGEST", 3 * sum(p.numel() for p in small_net().parameters()))
    model = one(noise_multiplier=0, clip_norm=0.5)
    assert model.several == 3  # so that a batch of 8 takes three looks, the last one padded
    before, rows = model.state, torch.arange(8)
    model.step(DATA.x[rows], DATA.y[rows], torch.tensor(0.2))
    total = plain_sum(small_net(), before, DATA.x[rows], DATA.y[rows], 0.5)
    for k, w in model.state.params.items():
        assert torch.allclose(w, before.params[k] - 0.2 * total[k] / 7, atol=1e-6)


def test_noise_has_the_size_that_the_accountant_is_told():
    model = one(noise_multiplier=3.0, clip_norm=0.5)
    before = model.state
    nobody = torch.arange(0)
    for _ in range(4):
        loss = model.step(DATA.x[nobody], DATA.y[nobody], torch.tensor(1.0))
    moved = torch.cat([(model.state.params[k] - w).flatten() for k, w in before.params.items()])
    assert abs(float(moved.std()) / (math.sqrt(4) * 3 * 0.5 / 7) - 1) < 0.1
    assert float(loss) == 0


def test_batches_are_poisson_samples():
    rows = [r for epoch in range(100) for r in one().rows(epoch)]
    assert len(rows) == 400  # as many steps an epoch as without
    sizes = torch.tensor([float(len(r)) for r in rows])
    assert abs(float(sizes.mean()) - 7) < 0.4
    assert abs(float(sizes.var()) - 7 * (1 - 7 / 23)) < 1.2
    assert all(len(set(r.tolist())) == len(r) for r in rows)


def test_batch_norm_is_refused_and_frozen_it_is_not():
    recipe = Recipe(epochs=1, batch=7)
    with pytest.raises(ValueError, match=r"batch norm.*convnet.*fine_tune last"):
        next(trainer(Private)(small_bn(), DATA.x, DATA.y, recipe, [0], defense=Defense()))
    last = last_layer()
    x = DATA.x.repeat(1, 1, 2, 2)
    *_, (state, _) = trainer(Private)(last, x, DATA.y, recipe, [0, 1], defense=Defense())
    assert state.finite
    assert state.models == 2


def test_momentum_and_decay_are_sgds():
    recipe = Recipe(epochs=2, batch=23, momentum=0.9, weight_decay=0.01)
    quiet = Defense(noise_multiplier=0, clip_norm=1e6)
    *_, (state, _) = trainer(Private)(small_net(), DATA.x, DATA.y, recipe, [5], defense=quiet)
    net = small_net().to_empty(device="cpu")
    net.load_state_dict(init(small_net(), 5).params)
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(2):  # where a batch has all pictures, each is drawn with probability 1
        sgd.zero_grad()
        F.cross_entropy(net(DATA.x), DATA.y).backward()
        sgd.step()
    for k, p in net.named_parameters():
        assert torch.allclose(state.params[k][0], p, atol=1e-5)


def test_epsilon_is_the_one_of_opacus_own_example(recwarn):
    pytest.importorskip("opacus", reason='install "mpkit[privacy]" to check ε_DP')
    # opacus/tests/accountants_test.py: σ 1.5, a rate of 0.04, 2250 steps, δ 1e-5
    recipe, defense = Recipe(epochs=90, batch=4), Defense(noise_multiplier=1.5)
    assert abs(privacy_spent(100, recipe, defense) - 7.32911117143) < 1e-6
    assert privacy_spent(100, recipe, Defense(noise_multiplier=0)) == math.inf
    spent = [privacy_spent(100, recipe, Defense(noise_multiplier=s)) for s in (0.3, 2, 40)]
    assert spent == sorted(spent, reverse=True)
    assert not recwarn


def test_without_opacus_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(ImportError, match=r"mpkit\[privacy\]"):
        privacy_spent(100, Recipe(), Defense())
