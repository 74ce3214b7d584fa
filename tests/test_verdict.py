"""What is written down of a victim, also by an earlier mpkit."""

from __future__ import annotations

import math

import pytest

from mpkit.tally import counted
from mpkit.verdict import VictimRecord, victim_of

OLD = {
    "arm": "poisoned", "victim": 0, "predicted": [0, 1], "success": [True, False],
    "adversarial_probability": [0.7, 0.1], "true_probability": [0.2, 0.8], "accuracy": 0.9,
}  # fmt: skip


def test_records_of_an_earlier_version_are_read():
    found = victim_of(OLD | {"something": "newer"})
    assert found == VictimRecord("poisoned", 0, (0, 1), (True, False), (0.7, 0.1), (0.2, 0.8), 0.9)
    assert (found.held, found.class_accuracy, found.diverged) == (None, None, False)
    assert "not recorded: whether it holds, accuracy by class" in counted([found], "poisoned", 9)
    with pytest.raises(TypeError):
        victim_of({k: v for k, v in OLD.items() if k != "success"})
    with pytest.raises(TypeError):
        victim_of(OLD | {"other_statistics": 3})


def test_an_earlier_success_of_what_diverged_is_none():
    row = OLD | {"adversarial_probability": [math.nan] * 2, "true_probability": [math.nan] * 2}
    found = victim_of(row)
    assert found.diverged
    assert (found.success, found.accuracy) == ((False, False), None)
