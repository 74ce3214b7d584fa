"""Tests of mpkit.defenses.clustering."""

import pytest
import torch
from sklearn.metrics import silhouette_score

from mpkit.defenses.clustering import cluster_scores, clustering
from mpkit.defenses.defense import Defense
from tests.defenses.conftest import untrained


def two_kinds(n: int, few: int, apart: float) -> torch.Tensor:
    found = torch.randn(n, 12, generator=torch.Generator().manual_seed(1))
    found[:few] += apart
    return found


def test_the_smaller_cluster_is_found_with_the_silhouette_of_scikit_learn():
    found = two_kinds(50, 9, 6.0)
    scores = cluster_scores(found)
    assert (scores > 0).nonzero().flatten().tolist() == list(range(9))
    # Ten of twelve components hold nearly all of what tells two far clusters apart.
    assert float(scores[0]) == pytest.approx(silhouette_score(found, scores > 0), abs=0.05)
    assert (scores[9:] == -scores[0]).all()


def test_one_cloud_is_not_clearly_two():
    assert cluster_scores(two_kinds(50, 9, 0.0)).max() < Defense().separation


@pytest.mark.parametrize("found", [torch.ones(20, 3), torch.rand(3, 3), torch.ones(1, 3)])
def test_where_nothing_can_be_clustered_nothing_is_suspicious(found):
    assert (cluster_scores(found) == -1).all()


def test_only_classes_that_are_clearly_two_lose_pictures():
    module, state, data = untrained(60)
    one = clustering(module, state, data, Defense(defense="clustering", separation=1.0))
    assert one.keep.all()
    limit = float(one.scores.max()) - 1e-6
    got = clustering(module, state, data, Defense(defense="clustering", separation=limit))
    dropped = data.y[~got.keep]
    assert len(dropped.unique()) == 1
    assert 0 < len(dropped) <= int((data.y == dropped[0]).sum()) // 2
