"""Running a cell again closes what it left running."""

from __future__ import annotations

import pytest

from mpkit.lab.kit.cells import claim
from mpkit.lab.kit.runner import Phase
from tests.lab.kit.conftest import lab_threads, until

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def test_running_a_cell_again_leaves_one_thread(made):
    first, second, other = made(), made(), made()
    claim("cell", 1, first)
    claim("another cell", 1, other)
    first.run(), other.run()
    until(lambda: first.steps and other.steps)
    claim("cell", 2, second)
    second.run()
    until(lambda: len(lab_threads()) == 2)
    assert first.phase is Phase.STOPPED
    count = first.steps
    until(lambda: second.steps > 3 and other.steps > 3)
    assert first.steps == count


def test_two_panels_of_one_execution_live_side_by_side(made):
    one, two = made(), made()
    claim("a cell", 1, one)
    claim("a cell", 1, two)
    one.run(), two.run()
    until(lambda: one.steps > 3 and two.steps > 3)
