"""Training as functions of the state: one SGD step, K of them in a row, and whole runs.

The same `sgd_step`, of one model, serves the surrogates, the unroll and the victims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from mpkit.augmentation import moved, moves
from mpkit.device import Plan, for_models
from mpkit.finetuning import seen_once
from mpkit.functional import State, init, logits, stack
from mpkit.recipe import Recipe
from mpkit.streams import batches_of, epoch_order, generator
from mpkit.telling import Count, Tell
from mpkit.tracing import settled, traced


def gradient(
    module: nn.Module, state: State, x: Tensor, y: Tensor, weight: Tensor | float = 1.0
) -> tuple[dict[str, Tensor], State, Tensor]:
    """weight·∇CE(w; x, y) by parameter, the state with the statistics after it, and the loss ().

    x (B, C, H, W), y (B,). The loss is weighed, and not the gradient: one product instead of many.
    """

    def loss(params: dict[str, Tensor]):
        z, after = logits(module, State(params, state.stats), x)
        value = F.cross_entropy(z, y)
        return weight * value, (after.stats, value)

    slopes, (stats, value) = grad(loss, has_aux=True)(state.params)
    return slopes, State(state.params, stats), value


def sgd_step(
    module: nn.Module, state: State, x: Tensor, y: Tensor, lr: Tensor | float
) -> tuple[State, Tensor]:
    """w − lr·∇CE(w; x, y): the state after it, and the loss () before it (paper, eq. 3).

    x (B, C, H, W), y (B,). The new state is a differentiable function of all arguments.
    """
    down, after, loss = gradient(module, state, x, y, -lr)
    return State({k: w + down[k] for k, w in state.params.items()}, after.stats), loss


def unroll(
    module: nn.Module, state: State, batches: Iterable[tuple[Tensor, Tensor]], lr: Tensor | float
) -> list[State]:
    """The states w₁ … w_K of K SGD steps, differentiable in the batches and in `state`."""
    states = []
    for x, y in batches:
        state, _ = sgd_step(module, state, x, y, lr)
        states.append(state)
    return states


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """One epoch of M models: `losses` (M,) mean training losses; `epoch` counted from 1."""

    epoch: int
    losses: tuple[float, ...]


def train(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    plan: Plan | None = None,
    own_x: Callable[[int], Tensor] | None = None,
    tell: Tell | None = None,
    after: tuple[int, State] | None = None,
) -> Iterator[tuple[State, EpochRecord]]:
    """Train one model a seed from fresh weights; yields their State (leading M) after every epoch.

    x (N, C, H, W), y (N,), or (M, N) where models have labels of their own. A seed decides initial
    weights, shuffles and augmentation, so the same seed on other pictures is the twin of a run.
    `own_x(m)` gives model m pictures of its own. `tell` hears of the batches of the whole run.
    `after`: so many epochs, and the State after them, to go on from; not with momentum, which is
    not part of it. Raises ValueError for that, and as `seen_once` does."""
    plan, count = plan or Plan(), len(seeds)
    see, labels = seen_once(module, recipe), y.expand(count, -1)
    if after and recipe.momentum:
        raise ValueError("training with momentum can't go on from a state alone: begin anew")
    begun, state = after or (0, stack([init(module, s) for s in seeds]))
    state = state.map(lambda t: t.to(x))
    moving = state.params if recipe.momentum else {}
    velocity = {k: torch.zeros_like(w) for k, w in moving.items()}
    told = Count(tell, recipe.epochs * count * batches_of(y.shape[-1], recipe.batch))
    for epoch in range(begun, recipe.epochs):

        def work(models: slice, state: State, velocity: dict, epoch=epoch):
            own = [see(own_x(m) if own_x else x) for m in range(count)[models]]
            batches = _epoch_batches(own, labels[models], recipe, seeds[models], epoch)
            batches = told.over(batches, len(own))
            return _train_epoch(module, recipe, state, velocity, batches, len(own) > 1)

        state, velocity, losses = settled(for_models(plan, count, work, state, velocity))
        yield state, EpochRecord(epoch + 1, tuple(losses.tolist()))


def _epoch_batches(pictures, y, recipe: Recipe, seeds, epoch: int) -> Iterator[tuple]:
    """The batches of an epoch, (x, y, lr) each, for one model or, with a leading M, for several, of
    labels y (M, N)."""
    n, batch = y.shape[-1], recipe.batch
    orders = torch.stack([epoch_order(n, batch, s, "epoch", epoch) for s in seeds], 1)
    changed = recipe.augment or recipe.flip
    (count, _, size), kind = orders.shape, (recipe.augment, recipe.flip)
    drawn = [generator(s, "augment", epoch) for s in seeds] if changed else []
    how = [moves(count, x, size, *kind, g) for x, g in zip(pictures, drawn, strict=False)]
    lr = torch.tensor(recipe.lr_at(epoch)).to(pictures[0])
    for b, rows in enumerate(orders.to(y.device)):
        x = [source[r] for source, r in zip(pictures, rows, strict=True)]
        if changed:
            x = [moved(p, m, b) for p, m in zip(x, how, strict=True)]
        own = y.gather(1, rows)
        yield (torch.stack(x), own, lr) if len(x) > 1 else (x[0], own[0], lr)


def _train_epoch(module, recipe: Recipe, state: State, velocity: dict, batches, many: bool):
    """One epoch of one model, or of `many`: its state, velocity and mean loss."""
    in_dims = (0, 0, 0, 0, None) if many else None
    step = traced(victim_step, module, recipe.weight_decay, recipe.momentum, in_dims=in_dims)
    losses = []
    for x, y, lr in batches:
        state, velocity, loss = step(state, velocity, x, y, lr)
        losses.append(loss)
    return state, velocity, sum(losses) / len(losses)


def victim_step(module, weight_decay, momentum, state: State, velocity: dict, *batch: Tensor):
    """`sgd_step` on `batch` (x, y, lr), with torch.optim.SGD's weight decay and momentum: also the
    velocity after it (empty without momentum), and the loss () before it."""
    x, y, lr = batch
    if not (weight_decay or momentum):
        new, loss = sgd_step(module, state, x, y, lr)
        return new, velocity, loss
    slopes, after, loss = gradient(module, state, x, y)
    moves = {k: g + weight_decay * state.params[k] for k, g in slopes.items()}
    if momentum:
        velocity = moves = {k: momentum * velocity[k] + g for k, g in moves.items()}
    params = {k: w - lr * moves[k] for k, w in state.params.items()}
    return State(params, after.stats), velocity, loss
