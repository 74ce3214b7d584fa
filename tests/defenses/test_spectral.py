"""Tests of mpkit.defenses.spectral."""

import numpy as np
import torch

from mpkit.defenses.defense import Defense
from mpkit.defenses.scoring import seen_features
from mpkit.defenses.spectral import spectral, spectral_scores
from tests.defenses.conftest import untrained


def by_numpy(found: torch.Tensor) -> np.ndarray:
    centred = found.numpy() - found.numpy().mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return (centred @ directions[0]) ** 2


def test_scores_are_squares_along_the_first_direction_of_a_singular_value_decomposition():
    found = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(spectral_scores(found), by_numpy(found), rtol=1e-4, atol=1e-5)


def test_classes_are_scored_one_by_one_and_one_and_a_half_times_the_suspected_go():
    module, state, data = untrained(80)
    got = spectral(module, state, data, Defense(defense="spectral", suspected=0.1))
    found = seen_features(module, state, data.x)
    for c in range(len(data.classes)):
        rows = data.rows_of(c)
        np.testing.assert_allclose(got.scores[rows], by_numpy(found[rows]), rtol=1e-3, atol=1e-5)
    assert int((~got.keep).sum()) == 12
    assert got.scores[~got.keep].min() >= got.scores[got.keep].max()
