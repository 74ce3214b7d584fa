"""Tests of mpkit.defenses.scoring."""

import pytest
import torch

from mpkit.defenses.scoring import CHUNK, filtered, highest, seen_features
from mpkit.finetuning import features
from mpkit.functional import init
from mpkit.networks import network
from mpkit.runs.attack import make_attack


def test_the_highest_scores_are_found_and_of_no_class_more_than_half():
    scores, y = (
        torch.tensor([1.0, 3.0, 2.0, 9.0, 5.0, 8.0, 7.0]),
        torch.tensor([0, 0, 0, 1, 1, 1, 1]),
    )
    found = highest(scores, y, 3 / 7)
    assert (~found.keep).nonzero().flatten().tolist() == [3, 5]
    assert found.scores is scores
    assert highest(scores, y, 0.9).keep.tolist() == [True, False, True, False, True, False, True]


def test_a_class_stays_whatever_a_filter_wants():
    y = torch.tensor([0, 0, 0, 1])
    keep = filtered(torch.ones(4, dtype=torch.bool), torch.tensor([1.0, 2.0, 3.0, 4.0]), y).keep
    assert keep.tolist() == [True, True, False, True]


def test_among_equals_the_order_of_the_rows_decides_nothing():
    """Poisons are the first rows of their class."""
    y, drop = torch.zeros(200, dtype=torch.long), torch.zeros(200, dtype=torch.bool)
    drop[:160] = True  # eighty poisons, eighty others
    gone = ~filtered(drop, drop.double(), y).keep
    assert gone.sum() == 100
    assert 35 <= gone[:80].sum() <= 65


@pytest.mark.parametrize("tuned", ["no", "last"])
def test_features_come_in_chunks_and_are_those_of_all_at_once(tuned):
    attack = make_attack("ci", fine_tune=tuned)
    module, _ = attack.networks((3, 32, 32), 6)
    x, state = torch.rand(CHUNK + 3, 3, 32, 32), init(module, 0)
    with torch.no_grad():
        torch.testing.assert_close(seen_features(module, state, x), features(module, state, x))


def test_a_model_that_diverged_tells_nothing():
    module = network("mlp", (1, 8, 8), 2)
    state = init(module, 0).map(lambda t: t * torch.nan)
    with pytest.raises(ValueError, match="diverged: use a lower lr"):
        seen_features(module, state, torch.rand(3, 1, 8, 8))
