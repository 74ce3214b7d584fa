"""Rates, and intervals that respect what is independent."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import scipy.stats
from scipy.stats import binomtest

from mpkit.evaluation.rates import Mean, clustered_rate, fallen, mean, paired, percent, rate
from tests.test_house import PACKAGE


@pytest.mark.parametrize(("k", "n"), [(0, 8), (8, 8), (3, 20), (105, 120)])
def test_wilson_interval(k, n):
    found, z = rate(k, n), 1.959963984540054
    centre, p = (k + z * z / 2) / (n + z * z), k / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert abs(found.low - max(0, centre - half)) < 1e-9
    assert abs(found.high - min(1, centre + half)) < 1e-9
    with pytest.raises(ValueError, match="no rate"):
        rate(n + 1, n)


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0.8314, "83%"), (0.004, "0.4%"), (1, "100%"), (0, "0%"), (199 / 200, "99.5%"),
        (1 / 400, "0.2%"),
        (0.99999, ">99.9%"), (1e-7, "<0.1%"), (0.999, "99.9%"), (None, "–"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_nothing_is_all_or_none_but_what_is(share, told):
    assert percent(share, 0) == told


def test_a_rate_that_is_not_all_is_not_told_as_all():
    assert str(rate(199, 200)).startswith("199/200 = 99.5% (95 % interval 97% to 99.9%)")
    assert str(rate(200, 200)).startswith("200/200 = 100% (95 % interval 98% to 100%)")
    assert str(rate(0, 8)).startswith("0/8 = 0% (95 % interval 0% to")


def test_shares_are_put_into_words_in_one_place():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "rates.py":
            assert not re.search(r":[,.\d]*%\}", path.read_text("utf-8")), f"{path.name}: percent()"


def test_victims_of_one_target_are_not_counted_as_independent():
    """The interval lies between that of all victims and that of targets, by how alike they are."""
    alike, mixed = [6] * 12 + [0] * 8, [3] * 20
    found, targets = clustered_rate(alike, [6] * 20), rate(12, 20)
    assert (found.successes, found.n) == (72, 120)
    assert (found.low, found.high) == pytest.approx((targets.low, targets.high))
    for counts in (mixed, [2, 3, 4] * 6 + [3, 3]):  # no more alike than chance
        found, victims, half = clustered_rate(counts, [6] * 20), rate(60, 120), rate(10, 20)
        assert half.low < found.low < victims.low < victims.high < found.high < half.high
    some = clustered_rate([6, 5, 6, 1, 0, 2, 6, 6, 1, 4], [6] * 10)
    assert rate(37, 60).low > some.low > rate(6, 10).low
    none, three = clustered_rate([0] * 20, [6] * 20), clustered_rate([6] * 3, [6] * 3)
    assert (none.low, none.high) == pytest.approx((0.0, rate(0, 20).high))
    assert (three.low, three.high) == pytest.approx((rate(3, 3).low, 1.0))


@pytest.mark.parametrize(("share", "alike"), [(0.5, 0.4), (0.05, 0.5), (0.1, 0.3), (0.01, 0.1)])
def test_clustered_intervals_hold_what_they_promise(share, alike):
    """Targets that fall by chances of their own, drawn many times: 95 of 100 hold the true rate,
    also where few victims turn; an interval that takes them all for independent does not."""
    draw, size = np.random.default_rng(0), (1 - alike) / alike
    chances = draw.beta(size * share, size * (1 - share), (400, 20))
    held = naive = 0
    for counts in draw.binomial(8, chances).tolist():
        found, plain = clustered_rate(counts, [8] * 20), rate(sum(counts), 160)
        held += found.low <= share <= found.high
        naive += plain.low <= share <= plain.high
    assert held >= 0.95 * 400
    assert naive < held


@pytest.mark.parametrize(("targets", "victims"), [(2, 2), (3, 6), (10, 4), (20, 8), (60, 3)])
def test_a_victim_more_that_turned_never_lowers_an_end(targets, victims):
    """None of 40 must not leave more open than one of 40."""
    draw = np.random.default_rng(1)
    for start in [
        np.zeros(targets, int),
        np.full(targets, victims),
        *_counts(draw, targets, victims),
    ]:
        ns = [victims] * targets
        few = clustered_rate(start.tolist(), ns)
        for k in np.unique(start[start < victims]):
            more = start.copy()
            more[np.flatnonzero(start == k)[0]] += 1
            many = clustered_rate(more.tolist(), ns)
            assert few.low <= many.low + 1e-12
            assert few.high <= many.high + 1e-12


def _counts(draw, targets: int, victims: int) -> list:
    alike, share = draw.uniform(0.01, 0.99, (2, 60, 1))
    size = (1 - alike) / alike
    return [*draw.binomial(victims, draw.beta(size * share, size * (1 - share), (60, targets)))]


def test_a_target_has_fallen_when_more_than_half_of_its_victims_turned():
    found = fallen([6, 4, 3, 2, 0], [6] * 5)
    assert (found.successes, found.n) == (2, 5)
    assert (found.low, found.high) == (rate(2, 5).low, rate(2, 5).high)
    for bad in (([], []), ([1], [2, 3]), ([7], [6])):
        with pytest.raises(ValueError, match=r"for 0 targets|1 counts|no rate"):
            clustered_rate(*bad)


def test_a_rate_in_words():
    assert str(rate(3, 8)) == "3/8 = 38% (95 % interval 14% to 69%)"
    assert rate(3, 8).rate == 3 / 8


def test_one_target_tells_as_much_as_one_trial():
    found = clustered_rate([6], [6])
    assert (found.low, found.high) == pytest.approx((rate(1, 1).low, rate(1, 1).high))


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_what_is_no_rate_is_refused(k, n):
    with pytest.raises(ValueError, match=f"{k} successes of {n} is no rate"):
        rate(k, n)


def test_two_ways_on_the_same_targets_are_compared_target_by_target():
    found = paired([4, 4, 4, 2, 0], [4, 0, 1, 3, 0], 4)
    assert (found.more, found.fewer, found.n) == (2, 1, 5)
    assert found.difference == pytest.approx(6 / 20)
    assert found.low < -0.2 < 0.3 < found.high
    assert found.luck == 1.0  # two against one
    assert paired([4] * 9, [0] * 9, 4).luck == pytest.approx(2 * 0.5**9)
    assert "more victims turned for 2 of 5 targets, fewer for 1; +30 points" in str(found)


@pytest.mark.parametrize("n", [1, 10, 30])
def test_where_nothing_differs_the_interval_is_what_none_of_n_allows(n):
    found = paired([4] * n, [4] * n, 4)
    assert (found.difference, found.luck) == (0, 1)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / n), abs=0.005) == -found.low


@pytest.mark.parametrize("counts", [([], []), ([1], [1, 2])])
def test_counts_of_other_targets_are_no_pairs(counts):
    with pytest.raises(ValueError, match="no pairs"):
        paired(*counts, 4)


@pytest.mark.parametrize("k", [0, 2, 7, 10])
def test_of_changes_by_all_or_nothing_the_interval_is_exact(k):
    found = paired([4] * k + [0] * (10 - k), [0] * 10, 4)
    exact = binomtest(k, 10).proportion_ci(method="exact")
    assert found.high == pytest.approx(exact.high, abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_interval_of_pairs_holds_as_often_as_it_says(size):
    """Simulated: one way is better by `size` of four victims for a fifth of the targets, and worse
    for a tenth."""
    draw, truth, held = np.random.default_rng(size), 0.1 * size / 4, 0
    for _ in range(200):
        change = draw.choice([size, -size, 0], 10, p=[0.2, 0.1, 0.7])
        found = paired([max(c, 0) for c in change], [max(-c, 0) for c in change], 4)
        held += found.low <= truth <= found.high
    assert held >= 0.95 * 200


def test_a_mean_has_students_interval():
    found = mean([0.6, 0.7, 0.8])
    wanted = scipy.stats.t.interval(0.95, 2, loc=0.7, scale=scipy.stats.sem([0.6, 0.7, 0.8]))
    assert (found.value, found.low, found.high) == pytest.approx((0.7, *wanted))
    assert mean([0.9]) == Mean(0.9, 0.0, 1.0)  # of one nothing is known
    assert mean([0.0, 1.0]).high == 1
    assert str(mean([0.5, 0.5])) == "50.0% (50% to 50%)"
    with pytest.raises(ValueError, match="no shares"):
        mean([])


def test_a_share_lies_in_its_interval():
    """Bars of a plot are drawn from it, and may not be of negative length."""
    for targets in range(1, 40):
        for each in (0, 1, 4):
            found = clustered_rate([each] * targets, [4] * targets)
            assert found.low <= found.rate <= found.high
