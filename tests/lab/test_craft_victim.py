"""The victim beside CraftLab."""

from __future__ import annotations

from mpkit.lab import CraftLab
from tests.lab.conftest import SIGNS, finished, press, said


def test_a_victim_trains_beside(lab, until):
    lab.victim.button.click()
    assert "no poisons yet" in said(lab)
    press(lab, "run")
    until(lambda: lab.runner.steps > 1)
    lab.victim.button.click()
    until(lambda: lab.victim.runner.phase.ended and lab.runner.phase.ended)
    assert lab.victim.runner.error is None
    assert [p.epoch for p in lab.victim.points] == [1, 2, 3]
    last = lab.victim.points[-1]
    assert 0 <= last.true + last.wanted <= 1 + 1e-6
    assert f"its clean twin's {last.clean:.1%}" in lab.victim.describe()
    # The last frame is drawn just after the end.
    until(lambda: "after epoch 3 it gives" in lab.victim.canvas.widget.value)


def test_closing_a_panel_ends_its_victim_as_well(small, until):
    lab = small(CraftLab, victim_epochs=2000)
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.points)
    runner = lab.victim.runner
    lab.close()
    assert runner.close(30)


def test_a_reset_forgets_the_victim(small, until):
    lab = small(CraftLab)
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.runner.phase.ended)
    until(lambda: lab.victim.words.value)
    lab.transport.buttons["reset"].click()
    assert lab.victim.words.value == ""
    assert "poisons of step" not in lab.victim.axes.get_title(loc="left")


def test_a_victim_beside_the_crafting_sees_what_is_trained(small, until):
    lab = small(CraftLab, **SIGNS, fine_tune="last")
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.runner.phase.ended, 60)
    assert lab.victim.runner.error is None, lab.victim.runner.error
    assert "accuracy" in lab.victim.describe()


def test_a_victim_that_does_not_turn_says_why(small, until):
    lab = small(CraftLab, epsilon=1 / 255)
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.runner.phase.ended and lab.victim.words.value)
    assert lab.victim.reason.startswith("Why it failed: ")
    assert lab.victim.describe().endswith(lab.victim.reason)
    assert "Why it failed" in lab.victim.words.value
    lab.transport.buttons["reset"].click()
    assert lab.victim.reason == ""


def test_only_victims_of_all_the_poisons_of_a_step_are_told_of(lab, until):
    finished(lab, until)
    lab.victim.start()
    until(lambda: lab.victim.runner.phase.ended)
    told = lab.story()
    assert [r.arm for r in told.victims] == ["poisoned", "clean"]
    assert told.frames.steps == (1, 2, 3, 4, 5, 6)
    assert (told.frames.pictures[-1] == told.poisons[list(told.frames.which)]).all()
    assert lab.victim.of(3) == []
    assert told.code == lab.code()
