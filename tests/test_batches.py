"""The batches of an unroll, against plain loops."""

from __future__ import annotations

import pytest
import torch

from mpkit.batches import depths, unroll_rows
from mpkit.data import Dataset
from mpkit.ensemble import Ensemble
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario, make_scenario
from tests.test_ensemble import NAMES, dataset


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


def orders_of(n: int, batch: int, models: int) -> torch.Tensor:
    return Ensemble(models, Recipe(epochs=4, batch=batch), 100).orders(2, n)


@pytest.mark.parametrize(
    ("n", "poisons", "batch"),
    [(20, 3, 5), (20, 8, 5), (23, 2, 6), (24, 24, 6), (9, 4, 100), (7, 2, 1), (30, 1, 10)],
)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_gathered_batches(steps, n, poisons, batch):
    scenario, bases = numbered(n, poisons), None
    bases, found_any = scenario.bases.tolist(), False
    for order in orders_of(n, batch, 3):
        epoch = unroll_rows(scenario, order, steps)
        for b in range(len(order)):
            held, batches = batch_oracle(scenario, order.tolist(), b, steps)
            assert epoch.count[b] == len(held)
            found_any |= bool(held)
            depth = min(len(held) + 1, min(batch, n))  # room for one more, where there is
            found = epoch.gather(scenario, b, depth)
            assert found.x.shape == (steps, min(batch, n), 1, 1, 1)
            rows = (found.x * 255).round().long()[..., 0, 0, 0]
            assert torch.equal(found.y, scenario.train.y[rows])
            slots = [bases.index(r) for r in held]
            assert found.slot.tolist() == slots + [poisons] * (depth - len(held))
            assert set(rows[0].tolist()) == batches[0]
            assert rows[:, : len(held)].tolist() == [held] * steps, "the same poisons stay"
            for k in range(1, steps):
                assert sorted(rows[k].tolist()) == batches[k]
    assert found_any


def test_clean_bases_fill_a_later_batch_only_where_nothing_else_is_left():
    scenario = numbered(24, 6)
    seen = 0
    for order in orders_of(24, 6, 3):
        epoch = unroll_rows(scenario, order, 3)
        for b in range(4):
            held, rows = int(epoch.count[b]), epoch.rows[b]
            for k in (1, 2):
                clean = int((scenario.slots[order[(b + k) % 4]] == 6).sum())
                bases = int((scenario.slots[rows[k, held:]] < 6).sum())
                assert bases == max(0, 6 - held - clean)
                seen += 1
    assert seen


@pytest.mark.parametrize("steps", [1, 3])
def test_several_models_get_what_each_gets_alone(steps):
    scenario, orders = numbered(24, 7), orders_of(24, 6, 4)
    together = unroll_rows(scenario, orders, steps)
    for m in range(4):
        alone = unroll_rows(scenario, orders[m], steps)
        assert all(map(torch.equal, alone, (part[m] for part in together)))
        batches = together.gather(scenario, 1, 3)
        assert torch.equal(batches.x[m], alone.gather(scenario, 1, 3).x)


@pytest.mark.parametrize(
    ("n", "poisons", "batch"),
    [(500, 50, 50), (20, 1, 5), (24, 24, 6), (9, 4, 100), (5000, 50, 125)],
)
def test_two_sizes_hold_the_poisons_of_every_batch(n, poisons, batch):
    scenario = numbered(n, poisons)
    usual, most = depths(scenario, batch)
    counts = torch.cat([unroll_rows(scenario, o, 1).count for o in orders_of(n, batch, 20)])
    assert 1 <= usual <= most <= min(batch, n, poisons)
    assert counts.max() <= most
    assert (counts <= usual).float().mean() > 0.9
