"""Chapter 07: its case and its solutions are those of the library."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import pytest
import torch

from mpkit.course import ch07, check
from mpkit.course.ch07 import case, certificate


@pytest.fixture(scope="module")
def solved():
    return ch07._solved()


def test_the_model_of_the_case_calls_the_target_what_nobody_labelled_it(solved):
    c, guilty = solved
    assert c.planted == int(guilty.sum()) == 60
    assert len(c.x) == len(c.y) == len(c.features) == 600
    assert c.errors.shape == (30, 600, 6)
    wanted = c.classes.index(c.said)
    assert 1 + c.target_errors[-1, wanted] > 0.5  # its probability at the end
    assert set(c.y[guilty].tolist()) == {wanted}


def test_errors_are_those_of_probabilities(solved):
    c, _ = solved
    assert torch.allclose(c.errors.sum(-1), torch.zeros(30, 600), atol=1e-5)
    own = c.errors.gather(2, c.y.expand(30, -1)[..., None])
    assert (own <= 0).all()


def test_what_is_asked_for_finds_more_than_a_blind_pick_of_the_class(solved):
    c, guilty = solved
    mine = (c.y == c.classes.index(c.said)).float()
    blind = float((guilty * mine).sum() / mine.sum())
    assert abs(blind - 0.6) < 0.01
    alike = (c.errors * c.target_errors[:, None]).sum(-1).sum(0)
    scores = alike * (c.features @ c.target_features + 1)
    assert float(guilty[scores.topk(60).indices].float().mean()) >= ch07.ENOUGH
    assert blind < ch07.ENOUGH


def test_rows_may_be_handed_in_in_any_way(solved):
    _, guilty = solved
    rows = guilty.nonzero().flatten()
    for way in (rows, rows.tolist(), tuple(rows.tolist()), set(rows.tolist())):
        assert check("07.find", way).right
    assert "60 of 60" in check("07.find", rows).words


def outcomes(votes: list[int], spoilt: int) -> set[int]:
    """Who can win after `spoilt` votes were changed at will."""
    found, k = set(), len(votes)
    for moves in combinations_with_replacement(list(product(range(k), repeat=2)), spoilt):
        after = list(votes)
        for a, b in moves:
            after[a] -= 1
            after[b] += 1
        if min(after) >= 0:
            found.add(after.index(max(after)))
    return found


@pytest.mark.parametrize(
    "votes", [[4, 1, 0], [1, 4, 0], [3, 3, 1], [0, 5, 2], [2, 2, 2], [0, 0, 4]]
)
def test_the_certificate_is_the_most_that_no_change_of_votes_can_undo(votes):
    winner, certified = certificate(votes)
    assert certified >= 0
    assert outcomes(votes, certified) == {winner}
    assert outcomes(votes, certified + 1) != {winner}
    assert check("07.certificate", lambda v: certificate(v)[1]).right


def test_fewer_parts_can_certify_no_tenth_of_600():
    assert certificate([240, 0])[1] == 120 == 2 * 60
    assert certificate([239, 0])[1] < 120
    assert check("07.parts", 240).right


def test_stubs_are_open():
    assert check("07.spectral", lambda features: None).right is None
    assert check("07.certificate", lambda votes: None).right is None
    assert case().planted == 60
