"""Pictures that are never twice the same: mixed, with a hole, or shifted."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mpkit.defenses.trainee import Trainee

GREY = 0.5
"""What cutout leaves: close to the mean that networks take off."""


class Mixup(Trainee):
    """Learns from pairs of pictures and of labels, mixed in the same random shares (Zhang et al.
    2018)."""

    pictures = True

    def batch(self, rows: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = super().batch(rows, noise)
        seed, other = (
            torch.randint(1 << 62, (), generator=noise),
            torch.randperm(len(y), generator=noise),
        )
        alpha, classes = self.defense.mixup_alpha, self.module.head.out_features
        share = np.random.default_rng(int(seed)).beta(alpha, alpha)
        return mixed(x, F.one_hot(y, classes).to(x), other.to(y.device), share)


def mixed(x: Tensor, y: Tensor, other: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """share of pictures x (B, …) and of labels y (B, classes), and the rest of rows `other`."""
    return share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]


class Cutout(Trainee):
    """Learns from pictures that lack a square, somewhere else each time (DeVries and Taylor 2017;
    it may stick out over the edge)."""

    pictures = True

    def batch(self, rows: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = super().batch(rows, noise)
        middle = torch.rand(2, len(y), 1, generator=noise)
        return cut(x, middle.to(x), round(self.defense.cutout_side * x.shape[-1])), y


def cut(x: Tensor, middle: Tensor, side: int) -> Tensor:
    """x (B, C, H, W) with grey squares around `middle` (2, B, 1), in shares of height and width."""
    sizes = x.shape[-2:]
    hidden = []
    for at, size in zip(middle, sizes, strict=True):
        first = (at * size).floor() - side // 2
        places = torch.arange(size, device=x.device)
        hidden.append((first <= places) & (places < first + side))
    return x.masked_fill((hidden[0][:, :, None] & hidden[1][:, None, :])[:, None], GREY)


class Augmented(Trainee):
    """Learns from pictures shifted at random, by up to an eighth of their width, and mirrored where
    that is asked for (Borgnia et al. 2021 has stronger ones)."""

    pictures = True

    def __init__(self, module, x, y, recipe, seed, defense):
        flip = recipe.flip or defense.mirrored
        recipe = dataclasses.replace(recipe, augment=True, flip=flip)
        super().__init__(module, x, y, recipe, seed, defense)
