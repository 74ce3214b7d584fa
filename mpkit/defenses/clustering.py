"""Activation clustering: a class that falls into two groups (Chen et al. 2018)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mpkit.data import Dataset
from mpkit.defenses.defense import Defense
from mpkit.defenses.scoring import Filtered, filtered, seen_features
from mpkit.functional import State

COMPONENTS, SAMPLED = 10, 2000
"""Features are reduced to so many; a silhouette is taken of at most so many pictures."""


def clustering(module: nn.Module, state: State, train: Dataset, s: Defense) -> Filtered:
    """Of each class drops the smaller of two clusters, where they are clearly apart: silhouette
    above `separation`. Scores: the class's silhouette, negative in the larger cluster."""
    found = seen_features(module, state, train.x).cpu()
    scores = torch.full((len(train),), -1.0)
    for c in train.y.unique():
        rows = train.rows_of(int(c)).cpu()
        scores[rows] = cluster_scores(found[rows])
    scores = scores.to(train.y.device)
    return filtered(scores > s.separation, scores, train.y)


def cluster_scores(found: Tensor) -> Tensor:
    """Of one class's features (n, width): the silhouette of 2-means on their main components, for
    those in the smaller cluster, and its negative for the others. −1 where there is nothing to
    cluster."""
    from sklearn.cluster import KMeans  # 60 MiB and a second, which other work does without
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score

    n, pictures = len(found), found.double().numpy()
    if n < 4 or len(np.unique(pictures, axis=0)) < 3:
        return torch.full((n,), -1.0)
    reduced = PCA(min(COMPONENTS, *found.shape), random_state=0).fit_transform(pictures)
    cluster = KMeans(2, n_init=10, random_state=0).fit_predict(reduced)
    sampled = {"sample_size": SAMPLED, "random_state": 0} if n > SAMPLED else {}
    apart = float(silhouette_score(reduced, cluster, **sampled))
    smaller = cluster == (cluster.sum() * 2 <= n)
    return torch.from_numpy(np.where(smaller, apart, -abs(apart))).float()
