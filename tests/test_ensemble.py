"""Surrogates: their ages, their lives, and the batches of an unroll, against plain loops."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from mpkit import ensemble
from mpkit.data import Dataset
from mpkit.device import Plan
from mpkit.metapoison import craft
from mpkit.networks import network
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings
from mpkit.training import Recipe, epoch_order

NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


# ── ages and seeds ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("models", [1, 2, 3, 8, 24])
@pytest.mark.parametrize("epochs", [1, 2, 5, 24, 30])
def test_ages(models, epochs):
    for step in (0, 1, epochs - 1, epochs, 3 * epochs + 2):
        expected = [(int(m * epochs / models + 1e-9) + step) % epochs for m in range(models)]
        assert ensemble.ages(models, epochs, step) == expected
        assert ensemble.ages(models, epochs, step, stagger=False) == [step % epochs] * models


def test_a_surrogate_a_craft_step_begins_again_where_there_are_as_many_as_epochs():
    for step in range(20):
        assert sorted(ensemble.ages(6, 6, step)) == list(range(6))


@pytest.mark.parametrize("stagger", [True, False])
@pytest.mark.parametrize(("models", "epochs"), [(4, 8), (5, 3), (3, 1), (1, 4)])
def test_a_seed_lasts_a_life(models, epochs, stagger):
    seen, before = set(), None
    for step in range(3 * epochs + 2):
        seeds = ensemble.seeds(7, models, epochs, step, stagger)
        ages = ensemble.ages(models, epochs, step, stagger)
        for m in range(models):
            if before is None or ages[m] == 0:
                assert seeds[m] not in seen, "a life has the seed of another"
                seen.add(seeds[m])
            else:
                assert seeds[m] == before[m]
        before = seeds
    assert not seen & set(ensemble.seeds(8, models, epochs, 0, stagger))


def test_learning_rates_are_those_of_each_age():
    scenario = make_scenario(dataset(12, 0), dataset(9, 1), "a", "b")
    recipe = Recipe(epochs=9, lr=0.2, warmup=4, decays=(5, 7))
    found = ensemble.learning_rates(scenario, recipe, [0, 1, 3, 4, 5, 6, 7, 8])
    expected = [0.05, 0.1, 0.2, 0.2, 0.02, 0.02, 0.002, 0.002]
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected)


def test_each_surrogate_has_its_own_shuffle_of_each_epoch():
    scenario = make_scenario(dataset(23, 0), dataset(9, 1), "a", "b")
    recipe = Recipe(batch=5)
    orders = ensemble.epoch_orders(scenario, recipe, [11, 22, 11, 11], [0, 0, 0, 1])
    assert orders.shape == (4, 5, 5)
    for order in orders:
        assert set(order.flatten().tolist()) == set(range(23))
        assert all(len(set(rows.tolist())) == 5 for rows in order)
    assert torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[3])


# ── the ensemble at craft step 0 ────────────────────────────────────────────────────────────────


def trained_alone(net, train: Dataset, recipe: Recipe, seed: int, epochs: int) -> nn.Module:
    """Clean training of one model as anybody would write it."""
    torch.manual_seed(seed)
    module = net.build().to(train.x.dtype).train()
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
    net, recipe = network(name, (1, 8, 8), 3), Recipe(epochs=5, batch=6, warmup=2, decays=(3,))
    models = 4
    found = ensemble.staggered(net, scenario, recipe, models, 3, plan)
    ages = ensemble.ages(models, 5, 0)
    assert ages == [0, 1, 2, 3]
    seeds = ensemble.seeds(3, models, 5, 0)
    for m in range(models):
        assert same(trained_alone(net, scenario.train, recipe, seeds[m], ages[m]), found, m)
        assert not same(trained_alone(net, scenario.train, recipe, seeds[m], ages[m] + 1), found, m)


def test_without_stagger_all_are_new():
    scenario = make_scenario(dataset(12, 0), dataset(9, 1), "a", "b")
    net, recipe = network("mlp", (1, 8, 8), 3), Recipe(epochs=5, batch=6)
    found = ensemble.staggered(net, scenario, recipe, 3, 3, Plan(2), stagger=False)
    fresh = net.init(ensemble.seeds(3, 3, 5, 0, False))
    assert all(torch.equal(found.params[k], w) for k, w in fresh.params.items())


# ── lives ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stagger", [True, False])
@pytest.mark.parametrize(("models", "epochs"), [(2, 3), (3, 2), (2, 1)])
def test_a_surrogate_begins_again_with_fresh_weights_of_its_new_life(models, epochs, stagger):
    """On clean data a surrogate is a model trained alone at every moment of the run."""
    scenario = precise(20)
    net = network("mlp", (1, 8, 8), 3)
    settings = Settings(
        models=models, craft_steps=2 * epochs + 1, unroll_steps=1, surrogate_data="clean",
        stagger=stagger, recipe=Recipe(epochs=epochs, batch=7), seed=5,
    )  # fmt: skip
    born = 0
    for step, (state, record) in enumerate(craft(scenario, net, settings)):
        ages = ensemble.ages(models, epochs, step, stagger)
        seeds = ensemble.seeds(5, models, epochs, step, stagger)
        assert record.ages == tuple(ages)
        for m in range(models):
            born += ages[m] == 0 and step > 0
            alone = trained_alone(net, scenario.train, settings.recipe, seeds[m], ages[m] + 1)
            assert same(alone, state.surrogates, m)
    assert born >= models


# ── the batches of an unroll ────────────────────────────────────────────────────────────────────


def numbered(n: int, poisons: int) -> Scenario:
    """Pictures of one pixel that says which row it is; the first of class b are the bases."""
    g = torch.Generator().manual_seed(n)
    y = torch.cat([torch.ones(poisons), torch.randint(0, 3, (n - poisons,), generator=g)]).long()
    y = y[torch.randperm(n, generator=g)]
    x = torch.arange(n).view(n, 1, 1, 1) / 255
    train = Dataset(x, y, NAMES, "numbered")
    return make_scenario(train, dataset(9, 1, 1), "a", "b", budget=poisons / n)


def batch_oracle(scenario, order: list[list[int]], b: int, steps: int):
    """One model: the poisons' rows of B_0 in their order, and each batch as a set of rows."""
    bases = scenario.bases.tolist()
    poisons = [row for row in order[b] if row in bases]
    batches = [set(order[b])]
    for k in range(1, steps):
        following = order[(b + k) % len(order)]
        others = [r for r in following if r not in bases] + [r for r in following if r in bases]
        batches.append(sorted(poisons + others[: len(order[b]) - len(poisons)]))
    return poisons, batches


@pytest.mark.parametrize(
    ("n", "poisons", "batch"),
    [(20, 3, 5), (20, 8, 5), (23, 2, 6), (24, 24, 6), (9, 4, 100), (7, 2, 1), (30, 1, 10)],
)
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("models", [1, 3])
def test_gathered_batches(models, steps, n, poisons, batch):
    scenario = numbered(n, poisons)
    seeds = [100 + m for m in range(models)]
    orders = ensemble.epoch_orders(scenario, Recipe(batch=batch), seeds, [2] * models)
    bases, found_any = scenario.bases.tolist(), False
    for b in range(orders.shape[1]):
        found = ensemble.gather(scenario, orders, b, steps)
        per_model = [batch_oracle(scenario, o.tolist(), b, steps) for o in orders]
        depth = max(len(rows) for rows, _ in per_model)
        if depth == 0:
            assert found is None
            continue
        found_any = True
        width = min(batch, n)
        assert len(found) == steps
        assert found.x.shape == (steps, models, width, 1, 1, 1)
        assert found.slot.shape == (models, depth)
        rows = (found.x * 255).round().long()[..., 0, 0, 0]
        assert torch.equal(found.y, scenario.train.y[rows])
        for m, (held, batches) in enumerate(per_model):
            slots = [bases.index(r) for r in held]
            assert found.slot[m].tolist() == slots + [poisons] * (depth - len(held))
            assert set(rows[0, m].tolist()) == batches[0]
            assert rows[:, m, : len(held)].tolist() == [held] * steps, "the same poisons stay"
            for k in range(1, steps):
                assert sorted(rows[k, m].tolist()) == batches[k]
    assert found_any


def test_clean_bases_fill_a_later_batch_only_where_nothing_else_is_left():
    scenario = numbered(24, 6)
    orders = ensemble.epoch_orders(scenario, Recipe(batch=6), [1, 2, 3], [0, 0, 0])
    seen = 0
    for b in range(4):
        found = ensemble.gather(scenario, orders, b, 3)
        if found is None:
            continue
        rows = (found.x * 255).round().long()[..., 0, 0, 0]
        for m in range(3):
            held = int((found.slot[m] < 6).sum())
            for k in (1, 2):
                following = scenario.slots[orders[m, (b + k) % 4]]
                clean = int((following == 6).sum())
                bases = int((scenario.slots[rows[k, m, held:]] < 6).sum())
                assert bases == max(0, 6 - held - clean)
                seen += 1
    assert seen


@pytest.mark.parametrize("steps", [1, 3])
def test_what_a_model_gets_does_not_depend_on_its_neighbours(steps):
    """Or the poisons would depend on how many models are stacked, far beyond rounding."""
    scenario = numbered(24, 7)
    orders = ensemble.epoch_orders(scenario, Recipe(batch=6), [1, 2, 3, 4], [0, 1, 2, 3])
    compared = 0
    for b in range(4):
        together = ensemble.gather(scenario, orders, b, steps)
        for m in range(4):
            alone = ensemble.gather(scenario, orders[m : m + 1], b, steps)
            if alone is None:
                assert together is None or (together.slot[m] == 7).all()
                continue
            for k in range(steps):
                ours, theirs = alone.x[k, 0].flatten(), together.x[k, m].flatten()
                assert torch.equal(ours.sort().values, theirs.sort().values)
            compared += 1
    assert compared > 4
