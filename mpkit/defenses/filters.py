"""Filters: a training set and a network trained on it in; which pictures to keep out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.evaluation.victims import predict
from mpkit.functional import State


class Filtered(NamedTuple):
    """What a filter says of N training pictures: `keep` (N,) bool, and `scores` (N,), the more
    suspicious the higher."""

    keep: Tensor
    scores: Tensor


Filter = Callable[[nn.Module, State, Dataset, Defense], Filtered]
"""(network, one model's state without a leading M, training set, settings) → `Filtered`."""


def loss_outliers(module: nn.Module, state: State, train: Dataset, s: Defense) -> Filtered:
    """Drops, of each class, the pictures with the largest loss: the share `suspected`."""
    z = predict(module, state.map(lambda t: t[None]), train.x)[0]
    scores = F.cross_entropy(z, train.y, reduction="none")
    return Filtered(~highest(scores, train.y, s.suspected), scores)


def highest(scores: Tensor, y: Tensor, share: float) -> Tensor:
    """bool (N,): the pictures of the highest scores (N,), in each class (y (N,)) the same share,
    rounded down, and so never a whole class."""
    found = torch.zeros_like(y, dtype=torch.bool)
    for c in y.unique():
        rows = (y == c).nonzero().flatten()
        found[rows[scores[rows].argsort(descending=True)[: int(share * len(rows))]]] = True
    return found


FILTERS: dict[str, Filter] = {"loss": loss_outliers}
"""The filters by name."""
