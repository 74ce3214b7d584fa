"""Spectral signatures: pictures far out along a class's main direction (Tran et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.defenses.scoring import Filtered, highest, seen_features
from mpkit.functional import State


def spectral(module: nn.Module, state: State, train: Dataset, s: Defense) -> Filtered:
    """Drops the pictures with the highest spectral scores: 1.5 times the share `suspected`, as
    published, but of all classes together: poisons of one class may be most of it."""
    found = seen_features(module, state, train.x)
    scores = found.new_zeros(len(train))
    for c in train.y.unique():
        rows = train.rows_of(int(c))
        scores[rows] = spectral_scores(found[rows])
    return highest(scores, train.y, 1.5 * s.suspected)


def spectral_scores(found: Tensor) -> Tensor:
    """(f·v₁)² of each row f of features (n, width), centred; v₁ is their main direction."""
    centred = found - found.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)  # width × width, however many pictures
    return (centred @ vectors[:, -1]) ** 2
