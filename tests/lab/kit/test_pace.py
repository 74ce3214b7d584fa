"""How long a run will take, foretold by the one before."""

from __future__ import annotations

import time

import pytest

from mpkit.lab import CraftLab, DynamicsLab, VictimsLab
from mpkit.lab.kit import pace
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import finished


@pytest.mark.parametrize("kind", [CraftLab, DynamicsLab, VictimsLab])
def test_the_time_of_a_run_is_foretold_by_the_one_before(small, until, kind):
    lab = small(kind)
    assert "here" not in lab.status.value
    began = time.perf_counter()
    finished(lab, until)
    took = time.perf_counter() - began
    lab.transport.buttons["reset"].click()
    foretold = pace.seconds(lab.name, lab.attack, lab.work())
    if kind is CraftLab:  # the others need not craft a second time
        assert 0.2 * took < foretold <= took
    assert "about" in lab.status.value
    assert " here" in lab.status.value


def test_a_run_that_was_changed_foretells_nothing(small, until):
    lab = small(CraftLab)
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    finished(lab, until)
    lab.transport.buttons["reset"].click()
    assert "here" not in lab.status.value


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}'])
def test_a_damaged_file_of_paces_costs_nothing(small, text):
    lab = small(CraftLab)
    pace.file().parent.mkdir(parents=True, exist_ok=True)
    pace.file().write_text(text)
    assert pace.seconds("craft", lab.attack, 1.0) is None
    pace.remember("craft", lab.attack, 2.0, 4.0)
    assert pace.seconds("craft", lab.attack, 3.0) == 6.0
