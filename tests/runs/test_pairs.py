"""Attacks that are drawn."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations

import pytest

from mpkit.runs.attack import make_attack
from mpkit.runs.pairs import PAIRS, default_classes, draw_pairs

NAMES = tuple("0123456789")


def test_pairs_are_drawn_by_the_seed_alone():
    random.seed(1)
    first = draw_pairs(NAMES, 50, seed=3)
    random.seed(2)
    assert draw_pairs(NAMES, 50, seed=3) == first
    assert draw_pairs(NAMES, 50, seed=4) != first
    assert draw_pairs(NAMES, 20, seed=3) == first[:20]  # a longer sweep extends a shorter one


def test_a_target_is_never_of_the_poison_class():
    for names in (("a", "b"), NAMES):
        for seed in range(50):
            for target, poison, index in draw_pairs(names, 10, seed, targets=7):
                assert target != poison
                assert {target, poison} <= set(names)
                assert 0 <= index < 7


def test_no_pair_is_drawn_twice():
    for seed in range(20):
        assert len(set(draw_pairs(("a", "b", "c"), 12, seed, targets=2))) == 12
    with pytest.raises(ValueError, match="at most 12, as many as there are, not 13"):
        draw_pairs(("a", "b", "c"), 13, 0, targets=2)


def test_pairs_are_drawn_evenly():
    found = Counter(p[:2] for s in range(300) for p in draw_pairs(("a", "b", "c"), 20, s))
    assert set(found) == set(permutations("abc", 2))
    assert max(found.values()) < 1.2 * min(found.values())  # 1000 of each, ± 30
    indices = Counter(p[2] for s in range(300) for p in draw_pairs(NAMES, 20, s, targets=3))
    assert set(indices) == {0, 1, 2}
    assert max(indices.values()) < 1.15 * min(indices.values())


@pytest.mark.parametrize("pair", PAIRS)
def test_every_pair_is_taken_where_its_classes_are_there(pair):
    names = tuple(sorted({*pair, "zebra"}))
    assert default_classes(make_attack("ci", data="digits"), names) == pair


def test_classes_that_nobody_has_heard_of_are_the_first_and_the_last():
    attack = make_attack("ci", data="digits")
    assert default_classes(attack, ("ant", "bee", "cat")) == ("ant", "cat")
    one = make_attack("ci", data="digits", target_class="cat")
    assert default_classes(one, ("ant", "bee", "cat")) == ("cat", "ant")


def test_indices_may_be_listed_for_every_two_classes():
    listed = {("a", "b"): [3, 5], ("b", "a"): [], ("a", "c"): [0]}
    found = draw_pairs(("a", "b", "c"), 3, 0, listed)
    assert sorted(found) == [("a", "b", 3), ("a", "b", 5), ("a", "c", 0)]
    with pytest.raises(ValueError, match="at most 3"):
        draw_pairs(("a", "b", "c"), 4, 0, listed)
