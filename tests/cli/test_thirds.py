"""The thirds of a sweep, side by side."""

from __future__ import annotations

import dataclasses
import random
import re

from mpkit.cli import sweep
from mpkit.cli.thirds import short
from mpkit.rates import clustered_rate
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import clean_margins, load_scenario
from mpkit.targets import Target
from tests.cli.conftest import DRAWN, Killed, Said, call, flags, from_flags


def names(kind: type) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


def found(attack: Attack, name: str) -> object:
    """A setting by the name of its flag."""
    own = name.removeprefix("victim_")
    if own != name and own in names(Recipe):
        return getattr(attack.victim_recipe, own)
    holders = (attack, attack.settings, attack.settings.recipe)
    return next(getattr(h, name) for h in holders if name in names(type(h)))


class Stand:
    """In the place of `_measure`: made-up arms, and a note of what was asked for."""

    def __init__(self, stop: int | None = None, error: type = Killed):
        self.asked, self.stop, self.error = [], stop, error

    def __call__(self, attack: Attack) -> dict:
        if len(self.asked) == self.stop:
            raise self.error
        self.asked.append(attack)
        return self.arms(attack)

    @staticmethod
    def arms(attack: Attack) -> dict:
        draw = random.Random(repr(attack))
        rate = lambda: {"successes": draw.randint(0, 4), "n": 4, "low": 0, "high": 1}  # noqa: E731
        names = ("poisoned", "clean", "noise")
        return {arm: {"success": rate(), "accuracy": draw.random()} for arm in names}


def drawable(true: str, wanted: str) -> list[Target]:
    """The targets that a sweep may draw, near first."""
    attack = from_flags(*flags(**DRAWN | {"target_index": 0}))
    scenario = load_scenario(attack)
    found = clean_margins(attack, scenario).targets(int(true), int(wanted))
    return [t for t in found if t.third]


def swept(monkeypatch, stand: Stand, *arguments: str) -> Said:
    monkeypatch.setattr(sweep, "_measure", stand)
    return call("sweep", *flags(epsilon=None, unroll_steps=None, **DRAWN), "--quiet", *arguments)


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
