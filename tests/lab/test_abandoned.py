"""A run that was left changes nothing any more, in any lab."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab import (
    CollisionLab,
    CompareLab,
    ReplayLab,
    UnrollLab,
    VictimsLab,
)
from mpkit.lab.kit.runner import Put
from tests.lab.conftest import LABS, finished, press

pytestmark = pytest.mark.usefixtures("unpainted")


def held(lab) -> dict:
    """Everything that a lab and its parts hold, by identity, and lists by what is in them."""
    parts = {"": lab}
    for name in ("source", "view", "picker", "attack", "scenario"):
        part = getattr(lab, name, None)
        parts |= {name: part} if hasattr(part, "__dict__") else {}
    return {
        (part, name): [id(v) for v in value] if isinstance(value, list) else id(value)
        for part, owner in parts.items()
        for name, value in vars(owner).items()
    }


def made(kind, small, **given):
    if kind is UnrollLab:
        return kind()
    if kind is ReplayLab:
        return kind(rate=1000)
    return small(kind, **{"craft_steps": 2, "target_index": None} | given)


@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_who_makes_the_items_changes_nothing_that_others_see(kind, small, monkeypatch):
    monkeypatch.setattr("mpkit.lab.craft.CraftLab._aim_later", lambda lab: None)
    lab = made(kind, small, **({"pairs": 1} if kind is CompareLab else {}))
    try:
        before, items, seen = held(lab), lab.items(), 0
        answers = [range(0, 1), None] if kind is VictimsLab else []
        item = next(items)
        while True:
            seen += not isinstance(item, Put)
            # Of VictimsLab's, the last kind asks for victims: it gets one, and then none.
            asks = isinstance(item, Put) and getattr(item.do, "__name__", "") == "_next"
            try:
                item = items.send(answers.pop(0)) if asks else next(items)
            except StopIteration:
                break
        assert seen > 1
        assert held(lab) == before
    finally:
        lab.close()


def test_a_collision_after_a_reset_is_of_the_new_seed(small, until, monkeypatch):
    alone = small(CollisionLab, seed=5)
    alone.controls["steps"].slider.value = 3
    finished(alone, until)
    lab = small(CollisionLab, seed=1)
    lab.controls["steps"].slider.value = 3
    lab.controls["seed"].slider.value = 1
    for _ in range(5):
        press(lab, "run")
        lab.controls["seed"].slider.value = 5  # while the network of the other seed trains
        press(lab, "reset")
        finished(lab, until)
        assert lab.curve() == alone.curve()
        press(lab, "reset")
        lab.controls["seed"].slider.value = 1


def test_a_move_of_a_run_that_was_left_is_not_made(until):
    lab = UnrollLab()
    try:
        old = lab.items()
        item = next(old)
        assert isinstance(item, Put)
        assert torch.equal(lab.poisons, lab.toy.poisons)
        finished(lab, until)
        there = lab.poisons
        old.close()
        assert lab.poisons is there
    finally:
        lab.close()
