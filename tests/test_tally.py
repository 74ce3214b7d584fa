"""Tallies of victims, and of attacks."""

from __future__ import annotations

import pytest

from mpkit.networks import network
from mpkit.scenario import make_scenario
from mpkit.tally import by_target, means_of, tally, words
from tests.test_evaluation import TEST, TRAIN, trained


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
