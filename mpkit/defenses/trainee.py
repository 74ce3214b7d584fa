"""One model in training that defends itself: what a training-time defense may change of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from mpkit.augmentation import augmented
from mpkit.defenses.defense import Defense
from mpkit.device import Plan
from mpkit.finetuning import refuse_augmentation, seen, seen_once
from mpkit.functional import State, init, stack
from mpkit.recipe import Recipe
from mpkit.streams import batches_of, epoch_order, generator
from mpkit.telling import Count, Tell
from mpkit.tracing import settled, traced
from mpkit.training import EpochRecord, victim_step

Trainer = Callable[..., Iterator[tuple[State, EpochRecord]]]
"""Called as `mpkit.training.train` is, with `defense` besides."""


class Trainee:
    """A model that learns from x (N, C, H, W) and y (N,) as `train` has one learn. A defense is a
    subclass that does one of these otherwise: `rows`, `taken`, `batch`, `step`, or `prepare`.

    `pictures`: it changes pictures, so that where only a last layer trains the features are
    computed batch by batch, and not once.
    """

    pictures = False

    def __init__(self, module: nn.Module, x, y, recipe: Recipe, seed: int, defense: Defense):
        self.module, self.x, self.y = module, x, y
        self.recipe, self.seed, self.defense = recipe, seed, defense
        self.state = init(module, seed).map(lambda t: t.to(x))
        moving = self.state.params if recipe.momentum else {}
        self.velocity = {k: torch.zeros_like(w) for k, w in moving.items()}

    def prepare(self, epoch: int) -> None:
        """What is done before an epoch, counted from 0."""

    def rows(self, epoch: int) -> Iterable[Tensor]:
        """The rows (B,) of the batches of an epoch."""
        order = epoch_order(len(self.y), self.recipe.batch, self.seed, "epoch", epoch)
        return order.to(self.y.device)

    def taken(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        """Pictures (B, C, H, W) of some rows, before the recipe's own augmentation."""
        return self.x[rows]

    def batch(self, rows: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """Pictures (B, C, H, W) and labels (B,), or shares of labels (B, classes), of some rows."""
        x, r = self.taken(rows, noise), self.recipe
        if r.augment or r.flip:
            x = augmented(x, r.augment, r.flip, noise)
        return x, self.y[rows]

    def step(self, x: Tensor, y: Tensor, lr: Tensor) -> Tensor:
        """Learns from a batch, as the network sees it; gives the loss () before."""
        decay, momentum = self.recipe.weight_decay, self.recipe.momentum
        step = traced(victim_step, self.module, decay, momentum)
        self.state, self.velocity, loss = step(self.state, self.velocity, x, y, lr)
        return loss

    def learn(self, epoch: int, told: Count) -> float:
        """One epoch; gives its mean loss."""
        self.prepare(epoch)
        noise, losses = generator(self.seed, "augment", epoch), []
        lr = torch.tensor(self.recipe.lr_at(epoch)).to(self.x)
        for rows in told.over(self.rows(epoch)):
            x, y = self.batch(rows, noise)
            losses.append(self.step(self.seen(x), y, lr))
        self.state, self.velocity = settled((self.state, self.velocity))
        return float(sum(losses) / len(losses))

    def seen(self, x: Tensor) -> Tensor:
        """What the layers that train take in of a batch that `batch` gave."""
        with torch.no_grad():
            return seen(self.module, x) if self.pictures else x


def trainer(kind: type[Trainee]) -> Trainer:
    """Models of a kind, trained one beside the other on a plan's threads."""

    def trained(
        module: nn.Module,
        x: Tensor,
        y: Tensor,
        recipe: Recipe,
        seeds: Sequence[int],
        *,
        defense: Defense,
        plan: Plan | None = None,
        tell: Tell | None = None,
    ) -> Iterator[tuple[State, EpochRecord]]:
        if hasattr(module, "frozen"):
            refuse_augmentation(recipe)
        x = x if kind.pictures else seen_once(module, recipe)(x)
        models = [kind(module, x, y, recipe, seed, defense) for seed in seeds]
        side_by_side = Plan(1, plan.workers if plan else 1)
        batches = batches_of(len(y), recipe.batch)
        told = Count(tell, recipe.epochs * len(seeds) * batches)
        for epoch in range(recipe.epochs):
            learn = lambda part, epoch=epoch: models[part.start].learn(epoch, told)  # noqa: E731
            losses = side_by_side.map(learn, len(models))
            yield stack([one.state for one in models]), EpochRecord(epoch + 1, tuple(losses))

    trained.__doc__ = kind.__doc__
    return trained
