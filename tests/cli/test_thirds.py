"""The thirds of a sweep, side by side."""

from __future__ import annotations

import re

import pytest

from mpkit.cli.thirds import short, thirds_table
from mpkit.evaluation.rates import Rate, clustered_rate, fallen, rate
from tests.cli.conftest import Stand, drawable, swept


def test_the_thirds_stand_side_by_side(monkeypatch):
    stand = Stand()
    said = swept(monkeypatch, stand, "--pairs", "30").out.splitlines()
    mine = {third: [] for third in ("near", "middle", "far")}
    for a in stand.asked:
        (found,) = [
            t for t in drawable(a.target_class, a.poison_class) if t.index == a.target_index[0]
        ]
        mine[found.third].append(Stand.arms(a)["poisoned"]["success"]["successes"])
    head, targets, victims, _ = said[-4:]
    assert head.split() == ["by", "clean", "margin", "near", "middle", "far"]
    cells = re.findall(r"(\d+)/(\d+) = \d+% \(\d+ to \d+\)", targets)
    assert cells == [(str(sum(k > 2 for k in v)), str(len(v))) for v in mine.values()]
    cells = re.findall(r"(\d+)/(\d+) = ", victims)
    assert cells == [(str(sum(v)), str(4 * len(v))) for v in mine.values()]
    assert short(clustered_rate(mine["far"], [4] * len(mine["far"]))) in victims


def attack(third: str | None, won: int, clean: int = 0) -> tuple[dict, dict]:
    """A target of a third, and what came of six victims of each arm."""
    counts = {"poisoned": won, "clean": clean}
    return {"third": third}, {k: {"success": {"successes": n, "n": 6}} for k, n in counts.items()}


def test_a_third_that_was_not_drawn_has_no_column():
    head, fell, turned, clean = thirds_table([attack("near", 6), attack("near", 2, 1)])
    assert head.split() == ["by", "clean", "margin", "near"]
    assert short(fallen([6, 2], [6, 6])) in fell
    assert short(clustered_rate([6, 2], [6, 6])) in turned
    assert short(clustered_rate([0, 1], [6, 6])) in clean
    assert not any(line != line.rstrip() for line in (head, fell, turned, clean))


def test_what_is_no_target_stands_last():
    head, fell, *_ = thirds_table([attack(None, 0), attack("far", 6), attack("near", 6)])
    assert head.split()[3:] == ["near", "far", "no", "target"]
    places = [head.index(word) for word in ("near", "far", "no target")]
    assert [fell[place] for place in places] == ["1", "1", "0"]


@pytest.mark.parametrize("found", [rate(0, 8), rate(5, 7), rate(300, 300)], ids=str)
def test_a_rate_fits_its_column(found: Rate):
    told = short(found)
    assert told.startswith(f"{found.successes}/{found.n} = {found.rate:.0%} (")
    assert told.endswith(f" to {100 * found.high:.0f})")
    assert len(told) < 27
