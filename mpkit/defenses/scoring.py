"""What all filters share: their answer, features in chunks, and who has the highest scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.finetuning import features
from mpkit.functional import State, own


class Filtered(NamedTuple):
    """What a filter says of N training pictures: `keep` (N,) bool, and `scores` (N,), the more
    suspicious the higher."""

    keep: Tensor
    scores: Tensor


Filter = Callable[[nn.Module, State, Dataset, Defense], Filtered]
"""(network, one model's state without a leading M, training set, settings) → `Filtered`."""

CHUNK = 500
"""Pictures, or rows of distances, at a time: 50,000 pictures of 32 × 32 then fit in 4 GB."""


def seen_features(module: nn.Module, state: State, x: Tensor) -> Tensor:
    """The penultimate layer (N, width) of pictures x (N, C, H, W), `CHUNK` at a time. Raises
    ValueError as `sure` does."""
    module = own(module)  # a thread's own: see `logits`
    with torch.no_grad():
        return sure(torch.cat([features(module, state, part) for part in x.split(CHUNK)]))


def sure(answers: Tensor) -> Tensor:
    """What the defender's own model says, if it is numbers. Raises ValueError where it is not."""
    if not answers.isfinite().all():
        raise ValueError(
            "the model that the defender trained to look at the pictures diverged: use a lower lr "
            "of the victims, or another defense"
        )
    return answers


def filtered(drop: Tensor, scores: Tensor, y: Tensor) -> Filtered:
    """Drops what is marked in `drop` (N,), and of no class more than the half with the highest
    scores (N,): a class stays a class, even where all of it looks suspicious."""
    drop, shuffle = drop.clone(), torch.Generator().manual_seed(0)
    for c in y.unique():
        rows = (y == c).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=shuffle).to(rows.device)]  # among equals
        drop[rows[scores[rows].argsort(descending=True, stable=True)[len(rows) // 2 :]]] = False
    return Filtered(~drop, scores)


def highest(scores: Tensor, y: Tensor, share: float) -> Filtered:
    """Drops the `share` of all pictures with the highest scores (N,), as `filtered` allows it."""
    drop = torch.zeros_like(y, dtype=torch.bool)
    drop[scores.topk(int(share * len(y))).indices] = True
    return filtered(drop, scores, y)
