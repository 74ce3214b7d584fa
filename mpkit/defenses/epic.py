"""EPIC: pictures whose gradients stand alone (Yang et al. 2022, "Not All Poisons are Created
Equal")."""

from __future__ import annotations

import heapq

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.defenses.scoring import Filtered, filtered, seen_features
from mpkit.evaluation.victims import predict
from mpkit.functional import State

LARGEST = 5000
"""Pictures that are compared with one another: a larger class is looked at in parts."""


def epic(module: nn.Module, state: State, train: Dataset, s: Defense) -> Filtered:
    """Drops the isolated pictures, as one look at a trained network finds them. Scores: one over
    how many share a picture's medoid, so that 1 means alone.

    It was meant to be done again and again while training: see `mpkit.defenses.cleansing`.
    """
    scores = isolation(module, state, train.x, train.y, s.medoids)
    return filtered(scores == 1, scores, train.y)


def isolation(module: nn.Module, state: State, x: Tensor, y: Tensor, share: float) -> Tensor:
    """(N,) one over the size of the cluster that each of N pictures x (N, C, H, W) is in: in each
    class a `share` of the pictures are medoids of the gradients of the loss by the last layer, and
    each picture belongs to the medoid nearest to it."""
    found = seen_features(module, state, x)
    z = predict(module, state.map(lambda t: t[None]), x)[0]
    wrong = z.softmax(1) - F.one_hot(y, z.shape[1])  # the gradient by the logits
    scores = found.new_ones(len(y))
    for c in y.unique():
        of_class = (y == c).nonzero().flatten()
        for rows in of_class.tensor_split(-(-len(of_class) // LARGEST)):
            scores[rows] = _class_scores(wrong[rows], found[rows], share)
    return scores


def _class_scores(wrong: Tensor, found: Tensor, share: float) -> Tensor:
    # The gradient by the last layer is wrong ⊗ (features, 1): its products need no such matrix.
    products = (wrong @ wrong.T) * (found @ found.T + 1)
    squares = products.diagonal().clone()
    apart = products.mul_(-2).add_(squares).add_(squares[:, None]).clamp_(min=0).sqrt_()
    chosen = medoids(apart, max(1, int(share * len(found))))
    nearest = apart[:, chosen].argmin(1)
    nearest[chosen] = torch.arange(len(chosen), device=nearest.device)
    return 1 / nearest.bincount(minlength=len(chosen))[nearest].to(apart)


def medoids(apart: Tensor, count: int) -> Tensor:
    """(count,) the rows that a greedy search picks, one after the other, so that all n are near to
    one of them; `apart` (n, n) holds the distances. Each adds most to the facility location
    Σ_i max_j (largest distance − apart_ij)."""
    near = apart.max() - apart
    covered = near.new_zeros(len(near))
    # A gain only ever falls: one that is still the largest after a fresh look is the largest.
    gains = [(-gain, j) for j, gain in enumerate(near.sum(0).tolist())]
    heapq.heapify(gains)
    chosen: list[int] = []
    while len(chosen) < count:
        _, j = heapq.heappop(gains)
        fresh = (-float((near[j] - covered).clamp(min=0).sum()), j)
        if gains and fresh > gains[0]:
            heapq.heappush(gains, fresh)
            continue
        chosen.append(j)
        covered = torch.maximum(covered, near[j])
    return torch.tensor(chosen, device=apart.device)
