"""Training as functions of the state: one SGD step, K of them in a row, and whole runs.

The same `sgd_step` serves the surrogates, the unroll and the victims. Everything here works on M
models at once (a leading M on states, pictures and labels); one model is M = 1.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mpkit.device import Plan
from mpkit.functional import Network, State, stack


def stream(*names: object) -> int:
    """A seed for one use of randomness, from the run's seed and what it is for.

    Distinct names give independent streams, so no generator has to be carried along or saved, and
    a victim can never share a stream with a surrogate. ``stream(seed, "victim", 3)``
    """
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator(*names: object) -> torch.Generator:
    """A CPU generator seeded by `stream`."""
    return torch.Generator().manual_seed(stream(*names))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained (METAPOISON.md §4; paper, appendix on training details).

    `lr` is reached linearly over `warmup` epochs and divided by 10 at each epoch of `decays`.
    `augment` pads by an eighth of the width (4 of 32) and crops back, `flip` mirrors half of the
    pictures; each does so with or without the other, as mirroring is for natural pictures only.
    Ages and `epochs` are counted in epochs.
    """

    epochs: int = 30
    batch: int = 50
    lr: float = 0.1
    warmup: int = 0
    decays: tuple[int, ...] = ()
    weight_decay: float = 0.0
    momentum: float = 0.0
    augment: bool = False
    flip: bool = False

    def __post_init__(self):
        for name, low in (("epochs", 1), ("batch", 1), ("warmup", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, not {self.lr}")
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                "momentum must lie in [0, 1) and weight_decay be 0 or more, "
                f"not {self.momentum} and {self.weight_decay}"
            )

    def lr_at(self, epoch: int) -> float:
        """The learning rate during an epoch, counted from 0."""
        ramp = min(1.0, (epoch + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * ramp * 0.1 ** sum(epoch >= d for d in self.decays)

    @property
    def plain(self) -> bool:
        """Whether a step is w − lr·∇L and nothing else, so that an unroll's first step is one."""
        return not (self.weight_decay or self.momentum or self.augment or self.flip)


def gradient(
    network: Network, state: State, x: Tensor, y: Tensor, lr: Tensor, create_graph: bool = False
) -> tuple[list[Tensor], dict[str, Tensor], Tensor]:
    """lr·∇ of each model's mean cross entropy, the stats after the batch, and the losses (M,).

    x (M, B, C, H, W), y (M, B), lr (M,). `lr` weighs the losses instead of the gradients: the
    update is then a plain subtraction, and its derivative needs no scaling either.
    """
    logits, stats = network(state, x)
    each = F.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none")
    weights = (lr / y.shape[-1])[..., None].expand(y.shape).flatten()
    grads = torch.autograd.grad(
        torch.dot(each, weights), list(state.params.values()), create_graph=create_graph
    )
    return list(grads), stats, each.detach().view(y.shape).mean(-1)


def sgd_step(
    network: Network, state: State, x: Tensor, y: Tensor, lr: Tensor, create_graph: bool = False
):
    """w − lr·∇CE(w; x, y) for M models: the state after it, and the losses (M,) before it.

    With `create_graph` the new state is a differentiable function of the old one and of x (paper,
    eq. 3); without, it is detached.
    """
    if not create_graph:
        state = leaves(state)
    gains, stats, losses = gradient(network, state, x, y, -lr, create_graph)
    with torch.set_grad_enabled(create_graph):
        params = {k: w + g for (k, w), g in zip(state.params.items(), gains, strict=True)}
    new = State(params, stats)
    return (new if create_graph else new.map(Tensor.detach)), losses


def unroll(
    network: Network, state: State, batches: Sequence[tuple[Tensor, Tensor]], lr: Tensor
) -> list[State]:
    """The states w₁ … w_K of K SGD steps, all differentiable in the batches and in `state`."""
    states = []
    for x, y in batches:
        state, _ = sgd_step(network, state, x, y, lr, create_graph=True)
        states.append(state)
    return states


def leaves(state: State) -> State:
    """The same numbers as fresh leaves of a graph: parameters require a gradient, stats do not."""
    params = {k: v.detach().requires_grad_() for k, v in state.params.items()}
    return State(params, {k: v.detach() for k, v in state.stats.items()})


def epoch_order(n: int, batch: int, *names: object) -> Tensor:
    """One shuffled epoch as rows (batches, batch); `names` choose the shuffle (see `stream`).

    Where `batch` does not divide n the last batch is filled up from the start of the same shuffle,
    so that every batch has the same shape and no image is left out.
    """
    batch = min(batch, n)
    order = torch.randperm(n, generator=generator(*names))
    count = -(-n // batch)
    return torch.cat([order, order[: count * batch - n]]).view(count, batch)


def augmented(x: Tensor, shift: bool, flip: bool, generator: torch.Generator) -> Tensor:
    """x (B, C, H, W): padded by an eighth of its width and cropped back; half of it mirrored."""
    n, _, height, width = x.shape
    pad = max(1, width // 8) if shift else 0
    top, left = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    rows, cols = top + torch.arange(height), left + torch.arange(width)
    if flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        cols = torch.where(mirrored, cols.flip(1), cols)
    pick = torch.arange(n)[:, None, None]
    return (
        F.pad(x, [pad] * 4)
        .permute(0, 2, 3, 1)[pick, rows[:, :, None], cols[:, None, :]]
        .permute(0, 3, 1, 2)
    )


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """One epoch of M models: `losses` (M,) mean training losses; `epoch` counted from 1."""

    epoch: int
    losses: tuple[float, ...]


def train(
    network: Network,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    seeds: Sequence[int],
    plan: Plan | None = None,
    own_x: Callable[[int], Tensor] | None = None,
) -> Iterator[tuple[State, EpochRecord]]:
    """Train one model a seed from fresh weights; yields the stacked state after every epoch.

    x (N, C, H, W), y (N,). A seed decides initial weights, shuffles and augmentation, so the same
    seed on other pictures is the twin of a run. `own_x(m)` gives model m pictures of its own.
    """
    plan = plan or Plan()
    state = network.init(seeds).map(lambda t: t.to(x.device))
    velocity: State | None = None
    for epoch in range(recipe.epochs):

        def work(models: slice, epoch=epoch, state=state, velocity=velocity):
            return _train_epoch(network, x, y, recipe, seeds, models, epoch, state, velocity, own_x)

        parts = plan.map(work, len(seeds))
        state = stack([s for s, _, _ in parts])
        velocity = stack([v for _, v, _ in parts]) if recipe.momentum else None
        yield state, EpochRecord(epoch + 1, tuple(torch.cat([loss for *_, loss in parts]).tolist()))


def _train_epoch(network, x, y, recipe, seeds, models, epoch, state, velocity, own_x):
    """One epoch of the chosen models: their state, velocity and mean losses."""
    seeds = seeds[models]
    sources = [own_x(m) for m in range(models.start, models.stop)] if own_x else [x] * len(seeds)
    order = torch.stack(
        [epoch_order(len(y), recipe.batch, s, "epoch", epoch) for s in seeds], 1
    ).to(x.device)
    noise = [generator(s, "augment", epoch) for s in seeds]
    state = state.pick(models)
    velocity = velocity.pick(models) if velocity else None
    lr = torch.full((len(seeds),), recipe.lr_at(epoch), device=x.device, dtype=x.dtype)
    total = torch.zeros_like(lr)
    for rows in order:
        pixels = torch.stack([source[r] for source, r in zip(sources, rows, strict=True)])
        if recipe.augment or recipe.flip:
            pairs = zip(pixels, noise, strict=True)
            pixels = torch.stack(
                [augmented(p.cpu(), recipe.augment, recipe.flip, g).to(x.device) for p, g in pairs]
            )
        state, velocity, losses = _victim_step(
            network, state, velocity, pixels, y[rows], lr, recipe
        )
        total += losses
    return state, velocity, total / len(order)


def _victim_step(network, state, velocity, x, y, lr, recipe: Recipe):
    """`sgd_step`, with torch.optim.SGD's weight decay and momentum where the recipe has them."""
    if not (recipe.weight_decay or recipe.momentum):
        state, losses = sgd_step(network, state, x, y, lr)
        return state, None, losses
    state = leaves(state)
    grads, stats, losses = gradient(network, state, x, y, torch.ones_like(lr))
    with torch.no_grad():
        pairs = zip(state.params.items(), grads, strict=True)
        moves = {k: g + recipe.weight_decay * w for (k, w), g in pairs}
        if velocity is not None:
            moves = {k: recipe.momentum * velocity.params[k] + g for k, g in moves.items()}
        params = {k: w - lr[0] * moves[k] for k, w in state.params.items()}
    return State(params, stats).map(Tensor.detach), State(moves, {}), losses
