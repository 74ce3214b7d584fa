"""Tests of mpkit.defenses.filters."""

import torch

from mpkit.defenses.filters import highest


def test_of_each_class_the_highest_scores_are_found_and_never_all():
    scores, y = torch.tensor([1.0, 3.0, 2.0, 9.0, 5.0]), torch.tensor([0, 0, 0, 1, 2])
    assert highest(scores, y, 0.4).tolist() == [False, True, False, False, False]
