"""The M surrogates of Algorithm 1: of different ages, one epoch older at every craft step.

Surrogate m starts m·T/M epochs old and begins again from fresh weights when it reaches T
("stagger", paper, section 3.2): poisons must work at every stage of training, not at one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpkit.batches import Batches
from mpkit.device import Plan
from mpkit.functional import Network, State, stack
from mpkit.scenario import Scenario
from mpkit.training import Recipe, epoch_order, sgd_step, stream


def ages(models: int, epochs: int, step: int, stagger: bool = True) -> list[int]:
    """The age in epochs of each surrogate at craft step `step`: (m·T/M + c) mod T."""
    return [((m * epochs // models if stagger else 0) + step) % epochs for m in range(models)]


def _life(model: int, models: int, epochs: int, step: int, stagger: bool) -> int:
    """How often a surrogate has begun again by craft step `step`."""
    return ((model * epochs // models if stagger else 0) + step) // epochs


def seeds(seed: int, models: int, epochs: int, step: int, stagger: bool = True) -> list[int]:
    """The seed of each surrogate's present life."""
    return [
        stream(seed, "surrogate", m, _life(m, models, epochs, step, stagger)) for m in range(models)
    ]


def staggered(
    network: Network,
    scenario: Scenario,
    recipe: Recipe,
    models: int,
    seed: int,
    plan: Plan,
    stagger: bool = True,
) -> State:
    """M surrogates, each trained on clean data to its own age at craft step 0.

    They are started one after another so that all arrive together: no step is wasted.
    """
    own, mine = (
        ages(models, recipe.epochs, 0, stagger),
        seeds(seed, models, recipe.epochs, 0, stagger),
    )
    state = network.init(mine).map(lambda t: t.to(scenario.train.x))
    for epochs_left in range(max(own), 0, -1):
        running = [m for m in range(models) if own[m] >= epochs_left]
        epochs = [own[m] - epochs_left for m in running]

        def work(part: slice, running=running, epochs=epochs, state=state) -> State:
            chosen = running[part]
            orders = epoch_orders(scenario, recipe, [mine[m] for m in chosen], epochs[part])
            lr = learning_rates(scenario, recipe, epochs[part])
            return _clean_epoch(network, scenario, state.pick(torch.tensor(chosen)), orders, lr)

        moved = stack(plan.map(work, len(running)))
        state = _put(state, running, moved)
    return state


def reborn(
    network: Network, state: State, epochs: int, seed: int, step: int, stagger: bool = True
) -> State:
    """The surrogates at craft step `step`: those of age 0 with fresh weights, the others as given
    (at step 0 all are as `staggered` made them)."""
    models = len(next(iter(state.params.values())))
    age = ages(models, epochs, step, stagger)
    young = [m for m in range(models) if age[m] == 0] if step else []
    if not young:
        return state
    own = seeds(seed, models, epochs, step, stagger)
    return _put(state, young, network.init([own[m] for m in young]))


def _put(state: State, models: list[int], new: State) -> State:
    """`state` with these of its models replaced by those of `new`, in turn."""
    where = torch.tensor(models)
    return State(*(
        {k: v.index_copy(0, where.to(v.device), put[k].to(v)) for k, v in old.items()}
        for old, put in zip(state, new, strict=True)
    ))  # fmt: skip


def _clean_epoch(
    network: Network, scenario: Scenario, state: State, orders: Tensor, lr: Tensor
) -> State:
    x, y = scenario.train.x, scenario.train.y
    for rows in orders.unbind(1):
        state, _ = sgd_step(network, state, x[rows], y[rows], lr)
    return state


def epoch_orders(scenario: Scenario, recipe: Recipe, seeds: list[int], epochs: list[int]) -> Tensor:
    """Each surrogate's own shuffle of the epoch it is in: rows (M, batches, B)."""
    n = len(scenario.train)
    orders = [
        epoch_order(n, recipe.batch, s, "epoch", e) for s, e in zip(seeds, epochs, strict=True)
    ]
    return torch.stack(orders).to(scenario.train.y.device)


def learning_rates(scenario: Scenario, recipe: Recipe, epochs: list[int]) -> Tensor:
    """(M,) each surrogate's learning rate at its age."""
    return torch.tensor([recipe.lr_at(e) for e in epochs]).to(scenario.train.x)


def gather(scenario: Scenario, orders: Tensor, batch: int, steps: int) -> Batches | None:
    """The K batches of an unroll that begins at batch number `batch`; None if no poison is in it.

    orders (M, batches, B). Batch B_0 is sorted so that poisons come first. B_1 … B_{K−1} keep the
    poisons of B_0 and take their other rows from the batches that follow in the epoch (official
    code); after the last batch the first follows. The order within a batch does not matter.
    """
    slots, absent = scenario.slots, len(scenario.bases)
    rows = orders[:, batch]
    slot = slots[rows]
    depth = int((slot < absent).sum(1).max())
    if depth == 0:
        return None
    first = _first(slot == absent)
    rows, slot = rows.gather(1, first), slot.gather(1, first)[:, :depth]
    every = [rows]
    for k in range(1, steps):
        following = _clean_first(orders[:, (batch + k) % orders.shape[1]], slots, absent)
        # Rows that only fill a model up to the depth of its neighbours give way, or what a model
        # gets would depend on which others it is stacked with.
        rest = torch.cat([slot == absent, torch.zeros_like(following, dtype=torch.bool)], 1)
        pool, order = torch.cat([rows[:, :depth], following], 1), _first(rest)
        every.append(pool.gather(1, order[:, : rows.shape[1]]))
    chosen = torch.stack(every)
    return Batches(scenario.train.x[chosen], scenario.train.y[chosen], slot)


def _clean_first(rows: Tensor, slots: Tensor, absent: int) -> Tensor:
    """The rows of each batch (M, B) with those that are no bases in front."""
    return rows.gather(1, _first(slots[rows] < absent))


def _first(last: Tensor) -> Tensor:
    """The order that puts the marked entries of each row (M, n) last and keeps it otherwise."""
    return torch.sort(last.to(torch.int8), dim=1, stable=True).indices
