"""EPIC as it was meant: again and again while training (Yang et al. 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mpkit.defenses.epic import isolation
from mpkit.defenses.trainee import Trainee
from mpkit.functional import own
from mpkit.streams import epoch_order, generator

FEWEST = 0.5
"""The share of each class that is always kept."""


class Cleansing(Trainee):
    """Learns, and every few epochs drops for good the pictures whose gradients stand alone."""

    def __init__(self, module, x, y, recipe, seed, defense):
        super().__init__(module, x, y, recipe, seed, defense)
        self.kept = torch.ones_like(y, dtype=torch.bool)
        self.bare = own(module)  # x is what it sees already
        self.bare.__dict__.pop("frozen", None)

    def prepare(self, epoch: int) -> None:
        if not epoch or epoch % self.defense.epic_every or not self.state.finite:
            return
        rows = self.kept.nonzero().flatten()
        given = self.state, self.x[rows], self.y[rows]
        alone = rows[isolation(self.bare, *given, self.defense.medoids) >= 1]
        for c in self.y[alone].unique():
            of_class = self.y == c
            left = int((self.kept & of_class).sum()) - math.ceil(FEWEST * int(of_class.sum()))
            some = alone[self.y[alone] == c]  # as suspicious as one another
            shuffle = generator(self.seed, "cleansing", epoch, int(c))
            some = some[torch.randperm(len(some), generator=shuffle).to(some.device)]
            self.kept[some[:left]] = False

    def rows(self, epoch: int) -> Tensor:
        rows = self.kept.nonzero().flatten()
        order = epoch_order(len(rows), self.recipe.batch, self.seed, "epoch", epoch)
        return rows[order.to(rows.device)]
