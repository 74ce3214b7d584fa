"""Tests of mpkit.defenses.deepknn."""

import torch
from sklearn.neighbors import NearestNeighbors

from mpkit.defenses.deepknn import deep_knn, label_votes
from mpkit.defenses.defense import Defense
from mpkit.defenses.scoring import CHUNK, filtered, seen_features
from tests.defenses.conftest import untrained


def test_votes_are_those_that_scikit_learn_counts():
    draw = torch.Generator().manual_seed(0)
    n = CHUNK + 40
    found, y = torch.randn(n, 5, generator=draw), torch.randint(0, 3, (n,), generator=draw)
    nearest = NearestNeighbors(n_neighbors=7).fit(found.numpy()).kneighbors(return_distance=False)
    counted = torch.stack([y[row].bincount(minlength=3) for row in torch.tensor(nearest)])
    assert torch.equal(label_votes(found, y, 7, 3), counted)


def test_who_is_outvoted_goes_and_a_tie_keeps():
    found = torch.tensor([[0.0], [1.0], [2.1], [50.0], [51.0], [52.1]])
    votes = label_votes(found, torch.tensor([0, 0, 1, 1, 1, 0]), 2, 2)
    assert votes.tolist() == [[1, 1], [1, 1], [2, 0], [1, 1], [1, 1], [0, 2]]


def test_k_is_a_share_and_at_most_half_of_the_smallest_class():
    module, state, data = untrained(40)
    smallest = int(data.y.bincount().min())
    for share, k in ((0.1, 4), (0.49, smallest // 2)):
        votes = label_votes(seen_features(module, state, data.x), data.y, k, len(data.classes))
        own = votes.gather(1, data.y[:, None])[:, 0]
        others = votes.scatter(1, data.y[:, None], -1).amax(1)
        got = deep_knn(module, state, data, Defense(defense="deep-knn", neighbours=share))
        assert torch.equal(got.scores, (others - own) / k)
        assert torch.equal(got.keep, filtered(others > own, got.scores, data.y).keep)
