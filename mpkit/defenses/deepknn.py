"""Deep k-NN: a picture whose label its neighbours vote down (Peri et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.defenses.scoring import CHUNK, Filtered, filtered, seen_features
from mpkit.functional import State


def deep_knn(module: nn.Module, state: State, train: Dataset, s: Defense) -> Filtered:
    """Drops the pictures whose label another one outvotes among their k nearest neighbours, by
    features and over all classes. k is the share `neighbours` of the training set, and at most half
    of the smallest class: else a small class could not win. Scores: the other's votes minus its
    own, in shares of k."""
    smallest = int(train.y.bincount()[train.y.unique()].min())
    k = max(1, min(round(s.neighbours * len(train)), smallest // 2))
    votes = label_votes(seen_features(module, state, train.x), train.y, k, len(train.classes))
    own = votes.gather(1, train.y[:, None])[:, 0]
    others = votes.scatter(1, train.y[:, None], -1).amax(1)
    return filtered(others > own, (others - own) / k, train.y)


def label_votes(found: Tensor, y: Tensor, k: int, classes: int) -> Tensor:
    """(N, classes): how many of the k nearest others of each row of features (N, width) have each
    label."""
    votes, squares = [], (found**2).sum(1)
    for rows in torch.arange(len(found), device=found.device).split(CHUNK):
        near = squares - 2 * found[rows] @ found.T  # + a square that is the same for the whole row
        near.scatter_(1, rows[:, None], torch.inf)
        nearest = near.topk(k, largest=False).indices
        votes.append(F.one_hot(y[nearest], classes).sum(1))
    return torch.cat(votes)
