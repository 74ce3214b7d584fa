"""Surrogates: their ages and their lives, against plain loops."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from mpkit.data import Dataset
from mpkit.device import Plan
from mpkit.ensemble import Ensemble
from mpkit.functional import init, stack
from mpkit.metapoison import craft
from mpkit.networks import NETWORKS, network
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings
from mpkit.streams import epoch_order

NAMES = ("a", "b", "c")


def dataset(n: int, seed: int, size: int = 8) -> Dataset:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, (n, 1, size, size), generator=g).float() / 255
    return Dataset(x, torch.randint(0, 3, (n,), generator=g), NAMES, "noise")


def precise(n: int = 23, **given) -> Scenario:
    """A scenario in float64, where rounding cannot be taken for a mistake, nor hide one."""
    scenario = make_scenario(dataset(n, 0), dataset(9, 1), "a", "b", budget=0.2, **given)
    for part in (scenario.train, scenario.validation):
        object.__setattr__(part, "x", part.x.double())
    return dataclasses.replace(scenario, targets=scenario.targets.double())


def ensemble(models: int, epochs: int, seed: int = 0, stagger: bool = True) -> Ensemble:
    return Ensemble(models, Recipe(epochs=epochs), seed, stagger)


# ── ages and seeds ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("models", [1, 2, 3, 8, 24])
@pytest.mark.parametrize("epochs", [1, 2, 5, 24, 30])
def test_ages(models, epochs):
    for step in (0, 1, epochs - 1, epochs, 3 * epochs + 2):
        expected = [(int(m * epochs / models + 1e-9) + step) % epochs for m in range(models)]
        assert ensemble(models, epochs).ages(step) == expected
        assert ensemble(models, epochs, stagger=False).ages(step) == [step % epochs] * models


def test_a_surrogate_a_craft_step_begins_again_where_there_are_as_many_as_epochs():
    for step in range(20):
        assert sorted(ensemble(6, 6).ages(step)) == list(range(6))


@pytest.mark.parametrize("stagger", [True, False])
@pytest.mark.parametrize(("models", "epochs"), [(4, 8), (5, 3), (3, 1), (1, 4)])
def test_a_seed_lasts_a_life(models, epochs, stagger):
    seen, before = set(), None
    for step in range(3 * epochs + 2):
        own = ensemble(models, epochs, 7, stagger)
        seeds, ages = own.seeds(step), own.ages(step)
        for m in range(models):
            if before is None or ages[m] == 0:
                assert seeds[m] not in seen, "a life has the seed of another"
                seen.add(seeds[m])
            else:
                assert seeds[m] == before[m]
        before = seeds
    assert not seen & set(ensemble(models, epochs, 8, stagger).seeds(0))


def test_learning_rates_are_those_of_each_age():
    recipe = Recipe(epochs=9, lr=0.2, warmup=4, decays=(5, 7))
    expected = [0.05, 0.1, 0.15, 0.2, 0.2, 0.02, 0.02, 0.002, 0.002]
    found = Ensemble(9, recipe, 0).rates(0)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected)


def test_each_surrogate_has_its_own_shuffle_of_each_epoch():
    own = Ensemble(3, Recipe(epochs=4, batch=5), 11)
    orders, later = own.orders(0, 23), own.orders(1, 23)
    assert orders.shape == (3, 5, 5)
    for order in orders:
        assert set(order.flatten().tolist()) == set(range(23))
        assert all(len(set(rows.tolist())) == 5 for rows in order)
    assert torch.equal(orders, own.orders(0, 23))
    assert not torch.equal(orders[0], orders[1])
    assert not any(map(torch.equal, orders, later))


# ── the ensemble at craft step 0 ────────────────────────────────────────────────────────────────


def trained_alone(net, train: Dataset, recipe: Recipe, seed: int, epochs: int) -> nn.Module:
    """Clean training of one model as anybody would write it."""
    torch.manual_seed(seed)
    module = NETWORKS[net]((1, 8, 8), 3).to(train.x.dtype).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = torch.tensor(recipe.lr_at(epoch)).item()  # in float32
        for rows in epoch_order(len(train), recipe.batch, seed, "epoch", epoch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(train.x[rows]), train.y[rows]).backward()
            optimizer.step()
    return module


def same(module: nn.Module, state, m: int) -> bool:
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    found = {**state.params, **state.stats}
    assert named.keys() == found.keys()
    return all(torch.allclose(v, found[k][m], rtol=1e-9, atol=1e-11) for k, v in named.items())


@pytest.mark.parametrize("plan", [Plan(), Plan(4), Plan(2, 2)], ids=str)
@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_staggered_surrogates_are_models_trained_alone_to_their_age(name, plan):
    scenario = precise()
    recipe = Recipe(epochs=5, batch=6, warmup=2, decays=(3,))
    own = Ensemble(4, recipe, 3)
    found = own.start(network(name, (1, 8, 8), 3), scenario, plan)
    ages, seeds = own.ages(0), own.seeds(0)
    assert ages == [0, 1, 2, 3]
    for m in range(4):
        assert same(trained_alone(name, scenario.train, recipe, seeds[m], ages[m]), found, m)
        older = trained_alone(name, scenario.train, recipe, seeds[m], ages[m] + 1)
        assert not same(older, found, m)


def test_without_stagger_all_are_new():
    scenario = make_scenario(dataset(12, 0), dataset(9, 1), "a", "b")
    net, own = network("mlp", (1, 8, 8), 3), Ensemble(3, Recipe(epochs=5, batch=6), 3, False)
    found = own.start(net, scenario, Plan(2))
    fresh = stack([init(net, s) for s in own.seeds(0)])
    assert all(torch.equal(found.params[k], w) for k, w in fresh.params.items())


# ── lives ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stagger", [True, False])
@pytest.mark.parametrize(("models", "epochs"), [(2, 3), (3, 2), (2, 1)])
def test_a_surrogate_begins_again_with_fresh_weights_of_its_new_life(models, epochs, stagger):
    """On clean data a surrogate is a model trained alone at every moment of the run."""
    scenario = precise(20)
    net = network("mlp", (1, 8, 8), 3)
    settings = Settings(
        models=models,
        craft_steps=2 * epochs + 1,
        unroll_steps=1,
        surrogate_data="clean",
        stagger=stagger,
        recipe=Recipe(epochs=epochs, batch=7),
        seed=5,
    )
    born = 0
    for step, (state, record) in enumerate(craft(scenario, net, settings)):
        own = ensemble(models, epochs, 5, stagger)
        ages, seeds = own.ages(step), own.seeds(step)
        assert record.ages == tuple(ages)
        for m in range(models):
            born += ages[m] == 0 and step > 0
            alone = trained_alone("mlp", scenario.train, settings.recipe, seeds[m], ages[m] + 1)
            assert same(alone, state.surrogates, m)
    assert born >= models
