"""Settings act at the next step, or wait for a reset; what is refused changes nothing."""

from __future__ import annotations

import pytest

from mpkit.lab import CraftLab, DynamicsLab
from tests.lab.conftest import finished, press

pytestmark = pytest.mark.usefixtures("unpainted")


def test_a_setting_of_the_next_run_is_taken_over_at_once_while_nothing_has_run(small):
    lab = small(CraftLab)
    lab.later(models=3)
    assert not lab.waiting
    assert lab.attack.settings.models == 3


@pytest.mark.parametrize("kind", [CraftLab, DynamicsLab])
def test_what_is_refused_does_not_wait(kind, small):
    lab = small(kind)
    before = lab.now()
    with pytest.raises(ValueError, match=r"models|epochs"):
        lab.later(**{"models": 0} if kind is CraftLab else {"epochs": 0})
    assert not lab.waiting
    assert lab.now() == before


def test_after_a_run_it_waits_for_the_reset(small, until):
    lab = small(CraftLab)
    finished(lab, until)
    had = lab.attack.settings.models
    lab.later(models=had + 1)
    assert lab.attack.settings.models == had
    assert "After reset" in lab.message.value
    press(lab, "reset")
    assert lab.attack.settings.models == had + 1
    assert not lab.waiting


def test_what_was_turned_in_mid_run_is_seen_with_the_step_that_has_it(small, until):
    """However soon after the last picture that is."""
    lab = small(CraftLab)
    lab.canvas.interval, drawn, take = 1000, [], lab.runner.on_item
    lab.canvas.drawn = lambda: drawn.append((lab.runner.steps, len(lab.marks)))

    def taken(item) -> None:
        if lab.runner.steps == 3:
            lab.turn(epsilon=3 / 255)
        if lab.runner.steps == 5:  # the mark came with step 4
            until(lambda: any(marks for _, marks in drawn))
        take(item)

    lab.runner.on_item = taken
    finished(lab, until)
    first = next(steps for steps, marks in drawn if marks)
    assert first in (4, 5)
