"""Shares of what was tried, with intervals that respect what is independent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


def percent(share: float | None, digits: int = 1) -> str:
    """83.1%, say; a dash for what there is none of. Nothing is 0% or 100% but what is: a share that
    would be rounded to it gets a digit more (199 of 200 are 99.5%), or is beyond 99.9%."""
    if share is None or share != share:
        return "–"
    exact = min(abs(share), abs(share - 1)) < 1e-12
    for text in (f"{share:.{digits}%}", f"{share:.{digits + 1}%}"):
        if exact or float(text[:-1]) not in (0, 100):
            return text
    return "<0.1%" if share < 0.5 else ">99.9%"


@dataclasses.dataclass(frozen=True)
class Rate:
    """`successes` of `n`, with the 95 % Wilson score interval (Wilson 1927) in `low`, `high`."""

    successes: int
    n: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        return self.successes / self.n

    def __str__(self) -> str:
        return (
            f"{self.successes}/{self.n} = {percent(self.rate, 0)} "
            f"(95 % interval {percent(self.low, 0)} to {percent(self.high, 0)})"
        )


def rate(successes: int, n: int) -> Rate:
    """A success rate with its interval. Raises ValueError unless 0 ≤ successes ≤ n and n ≥ 1."""
    _check(successes, n)
    from scipy.stats import binomtest  # slow to import, and needed at the end of a run only

    ci = binomtest(successes, n).proportion_ci(method="wilson")
    return Rate(successes, n, float(ci.low), float(ci.high))


def _check(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n} is no rate")


DOUBT = 2.0
"""With z²/2 = 1.92 or more, a success more never lowers an end of the interval."""


def clustered_rate(successes: Sequence[int], ns: Sequence[int]) -> Rate:
    """A rate over the victims of several targets, `successes` of `ns` each, with its interval.

    Victims of one target are no independent trials: they share its poisons. So the interval is
    Wilson's with n divided by the design effect 1 + (m − 1)·ρ (Kish 1965), ρ the intraclass
    correlation by analysis of variance, between 0 and 1. Where nearly all victims agree little is
    known of it, and then it is taken for nearly 1, as many trials as targets: its weight is the
    number of targets times p(1 − p), against `DOUBT` for 1. Raises ValueError where `rate` does,
    and for no target.
    """
    if not ns or len(successes) != len(ns):
        raise ValueError(f"{len(successes)} counts of successes for {len(ns)} targets")
    for k, n in zip(successes, ns, strict=True):
        _check(k, n)
    total, won, targets = sum(ns), sum(successes), len(ns)
    p, each = won / total, [k / n for k, n in zip(successes, ns, strict=True)]
    within = sum(n * q * (1 - q) for q, n in zip(each, ns, strict=True)) / max(1, total - targets)
    between = sum(n * (q - p) ** 2 for q, n in zip(each, ns, strict=True)) / max(1, targets - 1)
    size = (total - sum(n * n for n in ns) / total) / max(1, targets - 1)
    spread = between + (size - 1) * within
    rho = min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 1.0
    known = targets * p * (1 - p)
    rho = (known * rho + DOUBT) / (known + DOUBT)
    return Rate(won, total, *_wilson(p, total / (1 + (total / targets - 1) * rho)))


def _wilson(p: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share p of n trials, of which there may be a fraction."""
    z = 1.959963984540054
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Rounding must not put the share itself outside.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def fallen(successes: Sequence[int], ns: Sequence[int]) -> Rate:
    """The share of targets that fell: that more than half of their victims gave the class wanted.

    Each target is one trial, so the interval is Wilson's over targets. Raises ValueError as `rate`.
    """
    return rate(sum(2 * k > n for k, n in zip(successes, ns, strict=True)), len(ns))


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of shares with its 95 % interval by Student's t, within 0 and 1; of one share alone
    nothing is known."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{percent(self.value)} ({percent(self.low, 0)} to {percent(self.high, 0)})"


def mean(shares: Sequence[float]) -> Mean:
    """The mean over targets, each weighing the same. Raises ValueError for none."""
    if not shares:
        raise ValueError("of no shares there is no mean")
    from scipy.stats import t  # slow to import, as above

    n, middle = len(shares), float(np.mean(shares))
    half = float(t.ppf(0.975, n - 1) * np.std(shares, ddof=1) / math.sqrt(n)) if n > 1 else 1.0
    return Mean(middle, max(0.0, middle - half), min(1.0, middle + half))


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two ways of attacking on the same `n` targets: the first turned more victims of `more` of
    them, and fewer of `fewer`; `difference` is that of the mean shares, at 95 % within `low` and
    `high`. `luck`: how likely so lopsided a result is where neither is better (sign test)."""

    more: int
    fewer: int
    n: int
    difference: float
    low: float
    high: float
    luck: float

    def __str__(self) -> str:
        return (
            f"more victims turned for {self.more} of {self.n} targets, fewer for {self.fewer}; "
            f"{100 * self.difference:+.0f} points (95 % interval {100 * self.low:+.0f} to "
            f"{100 * self.high:+.0f}; by luck alone: p = {self.luck:.2g})"
        )


def paired(first: Sequence[int], second: Sequence[int], victims: int) -> Paired:
    """What the successes of `victims` for each target say of two ways on the same targets.

    The interval supposes nothing of a target's change but that it is at most 1 (Gaffke 2005): of
    changes by all or nothing it is Clopper and Pearson's, exact, and where none was seen it ends at
    1 − 0.025^(1/n). Raises ValueError for counts of other targets, or of none.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} targets are no pairs")
    from scipy.stats import binomtest  # slow to import, as above

    changes = [(a - b) / victims for a, b in zip(first, second, strict=True)]
    more, fewer = sum(c > 0 for c in changes), sum(c < 0 for c in changes)
    luck = binomtest(more, more + fewer).pvalue if more + fewer else 1.0
    low, high = -_largest_mean([-c for c in changes]), _largest_mean(changes)
    mean = sum(changes) / len(changes)
    return Paired(more, fewer, len(changes), mean, low, high, float(luck))


def _largest_mean(values: Sequence[float]) -> float:
    """Gaffke's upper bound (97.5 %) on the mean of what is at most 1, of which these were seen."""
    weights = np.random.default_rng(0).dirichlet([1] * (len(values) + 1), 40_000)
    return float(np.quantile(weights @ np.array([*values, 1.0]), 0.975))
