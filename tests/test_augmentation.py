"""Pictures that are shifted and mirrored are windows of the padded picture."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from mpkit.augmentation import augmented, moved, moves
from mpkit.streams import generator


def test_augmentation_crops_and_flips():
    x = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    padded = pad(x, [2] * 4)
    for flip in (False, True):
        found, flipped = augmented(x, True, flip, generator(0)), 0
        assert torch.equal(found, augmented(x, True, flip, generator(0)))
        for i in range(40):
            windows = [padded[i, :, a : a + 16, b : b + 16] for a in range(5) for b in range(5)]
            straight = any(torch.equal(found[i], w) for w in windows)
            mirrored = any(torch.equal(found[i].flip(-1), w) for w in windows)
            assert straight or mirrored
            flipped += mirrored and not straight
        assert 8 < flipped < 32 if flip else flipped == 0


def test_pictures_are_mirrored_without_shifts_too():
    x = torch.rand(40, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    found = augmented(x, False, True, generator(0))
    same, mirrored = ((found == y).flatten(1).all(1) for y in (x, x.flip(-1)))
    assert (same ^ mirrored).all()
    assert 8 < mirrored.sum() < 32


def test_batches_that_are_drawn_at_once_are_those_drawn_in_turn():
    x = torch.rand(2, 6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    how, drawn = moves(2, x[0], 6, True, True, generator(4)), generator(4)
    for b in range(2):
        assert torch.equal(moved(x[b], how, b), augmented(x[b], True, True, drawn))
