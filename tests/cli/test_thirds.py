"""The thirds of a sweep, side by side."""

from __future__ import annotations

import re

from mpkit.cli.thirds import short
from mpkit.rates import clustered_rate
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
