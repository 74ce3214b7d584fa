"""Filters: a training set and a network trained on it in; which pictures to keep out."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from mpkit.data import Dataset
from mpkit.defenses.clustering import clustering
from mpkit.defenses.deepknn import deep_knn
from mpkit.defenses.defense import Defense
from mpkit.defenses.epic import epic
from mpkit.defenses.scoring import Filter, Filtered, highest, sure
from mpkit.defenses.spectral import spectral
from mpkit.evaluation.victims import predict
from mpkit.functional import State


def loss_outliers(module: nn.Module, state: State, train: Dataset, s: Defense) -> Filtered:
    """Drops the share `suspected` of the pictures, those with the largest loss."""
    z = sure(predict(module, state.map(lambda t: t[None]), train.x)[0])
    return highest(F.cross_entropy(z, train.y, reduction="none"), train.y, s.suspected)


FILTERS: dict[str, Filter] = {
    "deep-knn": deep_knn,
    "spectral": spectral,
    "clustering": clustering,
    "epic": epic,
    "loss": loss_outliers,
}
"""The filters by name."""

__all__ = ["FILTERS", "Filter", "Filtered", "loss_outliers"]
