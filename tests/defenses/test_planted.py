"""Tests of mpkit.defenses.planted."""

import torch

from mpkit.defenses.planted import flipped, patched, stamped
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
    assert torch.equal(found.x[rows], stamped(data.x[rows]))
    others = torch.ones(40, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(found.x[others], data.x[others])


def test_a_stamp_is_a_chequered_corner():
    x = torch.full((2, 3, 16, 16), 0.5)
    found = stamped(x)
    assert (
        found[..., -4:, -4:]
        == torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]])
    ).all()
    assert (found[..., :-4, :] == 0.5).all()
    assert (found[..., :-4] == 0.5).all()
    assert (x == 0.5).all()
