"""Chapter 08: what its exercises say is what its numbers are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mpkit.contest.limits import limits_of
from mpkit.contest.score import Cell, _blue
from mpkit.course.ch08 import CASES, LIMITS, PAIRS, _points, rate_of

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def test_points_are_those_of_a_contest():
    for turned, n, without, defended, allowance in CASES:
        table = {
            (None, None): Cell({0: (0, n)}, {0: without}),
            (None, "Blue"): Cell({0: (0, n)}, {0: defended}),
            ("Red", "Blue"): Cell({0: (turned, n)}, {0: defended}),
        }
        found = _blue("Blue", table, {}, allowance)
        assert found.points == pytest.approx(_points(turned, n, without, defended, allowance))


def test_least_is_known_of_the_pair_that_is_named():
    width = {pair: rate_of(pair).high - rate_of(pair).low for pair in PAIRS}
    assert max(width, key=width.get) == "b"
    assert width["d"] < width["b"]
    assert (round(rate_of("b").low, 2), round(rate_of("b").high, 2)) == (0.15, 0.85)
    for pair in "ac":
        assert width[pair] == pytest.approx(0.49, abs=0.01)


def test_the_chapter_draws_by_no_seed_that_it_shows():
    cells = json.loads((NOTEBOOKS / "08-red-and-blue.ipynb").read_text("utf-8"))["cells"]
    (draw,) = re.findall(r"draw=(.*), question", "".join("".join(c["source"]) for c in cells))
    assert draw == "sized(ci=SEED, usual=None)"


def test_the_chapters_limits_are_limits():
    assert limits_of(LIMITS).victims == 4
