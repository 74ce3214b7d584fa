"""What is written down of a victim, also by an earlier mpkit."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from mpkit.evaluation.records import VictimRecord, silent, tuples, victim_of
from mpkit.evaluation.tally import counted

OLD = {
    "arm": "poisoned", "victim": 0, "predicted": [0, 1], "success": [True, False],
    "adversarial_probability": [0.7, 0.1], "true_probability": [0.2, 0.8], "accuracy": 0.9,
}  # fmt: skip


def test_records_of_an_earlier_version_are_read():
    found = victim_of(OLD | {"something": "newer"})
    assert found == VictimRecord("poisoned", 0, (0, 1), (True, False), (0.7, 0.1), (0.2, 0.8), 0.9)
    assert (found.held, found.class_accuracy, found.diverged) == (None, None, False)
    assert "not recorded: whether it holds, accuracy by class" in counted([found], "poisoned", 9)
    with pytest.raises(ValueError, match="it lacks 'success'"):
        victim_of({k: v for k, v in OLD.items() if k != "success"})


@pytest.mark.parametrize(
    "wrong",
    [{"other_statistics": 3}, {"other_statistics": OLD | {"other_statistics": OLD}},
     {"arm": "none"}, {"arm": 3}, {"victim": -1}, {"victim": 10**30}, {"victim": True},
     {"predicted": [0]}, {"predicted": [0, -1]}, {"predicted": [0, None]}, {"predicted": "ab"},
     {"success": []}, {"success": [1, 0]}, {"accuracy": 90}, {"accuracy": "high"},
     {"true_probability": [0.2, 1.8]}, {"held": [1.0]}, {"held": [2.0, 0.0]},
     {"probabilities": [[0.1, 0.9]]}, {"probabilities": [[0.1, 9], [0, 1]]},
     {"statistics": "mean"}, {"class_accuracy": [0.5, -0.5]}, {"diverged": 1}],
)  # fmt: skip
def test_what_no_victim_can_have_said_is_refused(wrong):
    with pytest.raises(ValueError, match=r"."):
        victim_of(OLD | wrong)


def test_an_earlier_success_of_what_diverged_is_none():
    row = OLD | {"adversarial_probability": [math.nan] * 2, "true_probability": [math.nan] * 2}
    found = victim_of(row)
    assert found.diverged
    assert (found.success, found.accuracy) == ((False, False), None)


def test_one_that_diverged_says_nothing_and_succeeds_nowhere():
    sound = VictimRecord(
        "poisoned", 3, (1, 2), (True, False), (0.7, 0.1), (0.2, 0.8), 0.9, 0.8, 0.7, (0.9, 0.8),
        (1.0, 0.2), ((0.2, 0.8), (0.9, 0.1)), statistics="running",
    )  # fmt: skip
    found = silent(sound)
    assert found.diverged
    assert found.success == (False, False)
    said = ("predicted", "adversarial_probability", "true_probability")
    assert all(getattr(found, name) == (None, None) for name in said)
    nothing = ("accuracy", "poison_accuracy", "target_accuracy", "class_accuracy", "probabilities")
    assert all(getattr(found, name) is None for name in nothing)
    kept = ("arm", "victim", "held", "statistics")
    assert all(getattr(found, name) == getattr(sound, name) for name in kept)


def test_a_record_survives_json_with_its_other_statistics():
    other = VictimRecord("clean", 1, (0,), (False,), (0.1,), (0.9,), 0.5, statistics="batch")
    mine = dataclasses.replace(other, statistics="running", other_statistics=other)
    assert victim_of(json.loads(json.dumps(dataclasses.asdict(mine)))) == mine


def test_lists_within_lists_become_tuples():
    assert tuples([1, [2, [3]], "a", None]) == (1, (2, (3,)), "a", None)
    assert tuples("abc") == "abc"
