"""The script that measures ranks, and the sums on paper."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import deck_model
import scaling

SLOW = deck_model.Machine(
    "slow", operations=10.0, memory=100.0, start=1.0, link=1000.0, latency=0.5
)


def test_ranks_that_differ_are_not_timed(monkeypatch):
    def start(count: int, *_) -> dict[str, object]:
        return {"crafting": 1.0, "victims": 1.0, "bits": [f"{count}", ""]}

    monkeypatch.setattr(scaling, "start", start)
    with pytest.raises(ValueError, match="one rank and 2 give other bits"):
        scaling.compare(2, 1, "tiny", 1)


def test_ratios_are_those_of_the_medians(monkeypatch):
    times = {1: iter([4.0, 6.0, 50.0]), 2: iter([2.0, 3.0, 1.0])}

    def start(count: int, *_) -> dict[str, object]:
        took = next(times[count])
        return {"crafting": took, "victims": 2 * took, "bits": ["a", "b"]}

    monkeypatch.setattr(scaling, "start", start)
    found = scaling.compare(2, 3, "tiny", 1)
    assert found["ratios"] == {"crafting": 3.0, "victims": 3.0}


def test_an_operation_takes_as_long_as_its_slowest_part():
    asks = [(50.0, 100.0), (0.0, 300.0), (1.0, 1.0)]
    assert deck_model.spent(asks, SLOW, 1) == {"arithmetic": 5.0, "memory": 3.0, "starts": 1.0}
    # Two side by side share a start; one after the other they do not.
    assert deck_model.spent(asks, SLOW, 2) == {"arithmetic": 10.0, "memory": 6.0, "starts": 1.0}
    alone = dataclasses.replace(SLOW, side=1)
    assert deck_model.spent(asks, alone, 2)["starts"] == 2.0


def test_sums_by_hand():
    assert deck_model.ring(800.0, 1, SLOW) == deck_model.ordered(800.0, 1, SLOW) == 0.0
    assert deck_model.ring(800.0, 4, SLOW) == pytest.approx(6 * (0.2 + 0.5))
    assert deck_model.ordered(800.0, 4, SLOW) == pytest.approx(4 * (0.8 + 0.5))


def test_every_model_and_victim_is_somebodys():
    attack = scaling.problem("tiny", 1)
    sizes = deck_model.sizes_of(attack)
    one, two = (deck_model.predicted(attack, sizes, SLOW, n) for n in (1, 2))
    assert two["crafting"]["arithmetic"] == pytest.approx(one["crafting"]["arithmetic"] / 2)
    # One poisoned victim can't be shared.
    assert two["poisoned victims"] == one["poisoned victims"]
    assert not one["target"]
    (_, first), *_ = deck_model.operations(deck_model.pieces(attack, sizes)["victim step"])[:1]
    assert first > 0
