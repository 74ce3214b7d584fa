"""Tests of mpkit.defenses.planted."""

import torch

from mpkit.defenses.planted import flipped, patched
from tests.blobs import dataset


def test_flipped_labels_are_others_and_nothing_else_changes():
    data = dataset(40, 0)
    found, rows = flipped(data, 0.1, seed=3)
    assert len(rows) == 4
    assert set((found.y != data.y).nonzero().flatten().tolist()) == set(rows.tolist())
    assert torch.equal(found.x, data.x)
    assert not torch.equal(rows, flipped(data, 0.1, seed=4).rows)


def test_patched_pictures_share_a_corner_and_a_label():
    data = dataset(40, 0)
    found, rows = patched(data, 0.1, seed=3)
    assert len(rows) == 4
    assert len(found.y[rows].unique()) == 1
    assert (found.y[rows] != data.y[rows]).all()
    side = data.shape[-1] // 4
    corner = found.x[rows, :, -side:, -side:]
    assert (corner == corner[0]).all()
    changed = (found.x != data.x).flatten(1).any(1).nonzero().flatten()
    assert set(changed.tolist()) <= set(rows.tolist())
    assert torch.equal(found.x[rows, :, :-side], data.x[rows, :, :-side])
