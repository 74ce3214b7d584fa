"""Tallies of victims, and of attacks."""

from __future__ import annotations

import pytest

from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import VictimRecord, silent
from mpkit.evaluation.tally import (
    by_target,
    counted,
    diverged,
    means_of,
    success_rate,
    tallies,
    tally,
    with_diverged,
    words,
)
from mpkit.networks import network
from mpkit.scenario import make_scenario
from tests.evaluation.test_victims import TEST, TRAIN, trained


def test_tallies_of_attacks_are_pooled():
    net = network("convnet-bn", (1, 8, 8), 3)
    scenarios = [make_scenario(TRAIN, TEST, "a", "b", target_index=i) for i in range(2)]
    found = [tally(trained(net, scenario=s), "clean") for s in scenarios]
    means = means_of(found)
    for name in ("accuracy", "poison_accuracy", "held", "true_probability"):
        assert means[name] == pytest.approx(sum(t[name] for t in found) / 2)
    fell, turned = by_target(found)
    counts = [t["success"]["successes"] for t in found]
    assert (fell.successes, turned.successes) == (sum(2 * k > 3 for k in counts), sum(counts))
    assert found[0]["other_statistics"]["statistics"] == "batch"
    # Beside one by an earlier mpkit: the mean is that of what was recorded.
    old = {"success": found[0]["success"], "accuracy": 1.0}
    assert means_of([found[0], old])["held"] == found[0]["held"]


def test_tallies_in_words():
    found = {
        "accuracy": 0.9, "held": 0.5, "poison_accuracy": 0.8, "target_accuracy": None,
        "adversarial_probability": 0.25, "true_probability": 0.5,
    }  # fmt: skip
    told = "held {} epochs; accuracy of the poison class 80.0%, of the target's –"
    p = "; mean probability of dog: 0.25, cat: 0.50"
    assert words(found, "dog", "cat", 20) == told.format("2.5 of the last 5") + p
    assert words(found, None, None, 4) == told.format("2.0 of the last 4")
    assert words(found, None, "cat", 4).endswith("mean probability of cat: 0.50")
    assert words(found | {"accuracy": None}, "dog", "cat", 20) == ""


def victim(arm: str, number: int, won: bool, accuracy: float = 0.9, **more) -> VictimRecord:
    return VictimRecord(arm, number, (1,), (won,), (0.6,), (0.3,), accuracy, **more)


def test_an_arm_is_counted_without_the_others():
    records = [victim("poisoned", 0, True), victim("poisoned", 1, False), victim("clean", 0, True)]
    assert success_rate(records, "poisoned") == rate(1, 2)
    assert diverged(records, "poisoned") == 0
    assert list(tallies(records)) == ["poisoned", "clean"]
    assert tally(records, "clean")["success"]["n"] == 1
    with pytest.raises(ValueError, match="no rate"):
        tally(records, "noise")


def test_what_diverged_is_no_success_and_in_no_mean():
    records = [victim("clean", 0, True, 0.8), silent(victim("clean", 1, True, 0.2))]
    found = tally(records, "clean")
    assert (found["success"]["successes"], found["success"]["n"]) == (1, 2)
    assert (found["diverged"], found["accuracy"]) == (1, 0.8)
    assert counted(records, "clean", 5).startswith(f"{rate(1, 2)}, 1 diverged, accuracy 80.0%")


def test_the_other_statistics_have_a_tally_of_their_own():
    other = victim("clean", 0, False, 0.4, statistics="batch")
    mine = victim("clean", 0, True, 0.8, statistics="running", other_statistics=other)
    found = tally([mine], "clean")
    assert (found["statistics"], found["accuracy"]) == ("running", 0.8)
    assert found["other_statistics"]["accuracy"] == 0.4
    told = counted([mine], "clean", 5)
    assert told.endswith(f"with batch norm by the statistics of the batch {rate(0, 1)})")


def test_those_that_diverged_are_named_if_there_are_any():
    assert with_diverged("3 of 8", 0) == "3 of 8"
    assert with_diverged("3 of 8", 2) == "3 of 8, 2 diverged"
