"""Poisons of a CraftLab that goes on: whose step they are is said, and one can wait for the end."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab import CraftLab, DynamicsLab, VictimsLab
from mpkit.lab.kit.runner import Phase
from mpkit.lab.poison_source import PoisonSource
from tests.lab.conftest import finished, press, small_attack

pytestmark = pytest.mark.usefixtures("unpainted")

BOTH = pytest.mark.parametrize("kind", [VictimsLab, DynamicsLab], ids=lambda kind: kind.__name__)


def step(lab, until, times: int = 1) -> None:
    for _ in range(times):
        count = lab.runner.steps
        press(lab, "step")
        until(lambda count=count: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)


def in_the_picture(lab) -> list[str]:
    figure = lab.canvas.figure
    texts = [text.get_text() for text in figure.texts]
    return texts + [axes.get_title(loc="left") for axes in figure.axes]


@BOTH
def test_half_made_poisons_are_called_so(small, until, kind):
    crafting = small(CraftLab)
    step(crafting, until, 2)
    lab = small(kind, crafting)
    finished(lab, until)
    words = "poisons of craft step 2 of 6, half made"
    assert words in lab.describe()
    assert words in in_the_picture(lab)
    finished(crafting, until)
    press(lab, "reset")
    finished(lab, until)
    assert "poisons of craft step 6 of 6:" in lab.describe().replace(";", ":")
    assert "half made" not in lab.describe()
    assert "poisons of craft step 6 of 6" in in_the_picture(lab)


@BOTH
def test_one_can_wait_until_crafting_has_ended(small, until, kind):
    crafting = small(CraftLab)
    step(crafting, until)
    lab = small(kind, crafting)
    assert lab.controls["wait"].value is False
    lab.controls["wait"].menu.value = True
    press(lab, "run")
    until(lambda: "waiting: 1 of 6 craft steps" in " ".join(in_the_picture(lab)))
    assert (lab.runner.phase, lab.runner.steps) == (Phase.RUNNING, 0)
    press(lab, "pause")  # one can pause while one waits, and stop
    until(lambda: lab.runner.phase is Phase.PAUSED)
    press(lab, "run")
    finished(crafting, until)
    until(lambda: lab.runner.phase.ended)
    assert lab.runner.error is None
    assert "craft step 6 of 6" in lab.describe()
    press(lab, "reset")
    assert lab.controls["wait"].value is lab.wait is True


@BOTH
def test_there_is_nothing_to_wait_for_without_a_craft_lab(small, kind):
    assert "wait" not in small(kind).controls
    bases = PoisonSource(None, small_attack()).scenario.base_images
    given = (255 * bases).round().byte()
    assert "wait" not in small(kind, given).controls


@BOTH
@pytest.mark.parametrize("wait", [False, True])
def test_a_craft_lab_that_is_closed_leaves_its_last_poisons(small, until, kind, wait):
    crafting = small(CraftLab)
    finished(crafting, until)
    lab = small(kind, crafting)
    lab.controls["wait"].menu.value = wait
    poisons = crafting.poisons()
    crafting.close()
    finished(lab, until)
    assert "poisons of craft step 6 of 6" in lab.describe()
    assert torch.equal(lab.batch.pictures, poisons)
    press(lab, "reset")
    finished(lab, until)
    assert torch.equal(lab.batch.pictures, poisons)


@BOTH
def test_one_that_is_closed_before_its_first_step_leaves_its_attack(small, until, kind):
    crafting = small(CraftLab, craft_steps=2)
    lab = small(kind, crafting)
    crafting.close()
    finished(lab, until)
    assert "poisons of craft step 2 of 2" in lab.describe()


def test_waiting_where_it_would_be_for_ever_is_refused(small, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    lab = small(VictimsLab, small(CraftLab))
    lab.controls["wait"].menu.value = True
    lab.runner.run()
    assert lab.runner.phase is Phase.FAILED
    assert "crafting has not ended" in lab.message.value


def test_what_is_taken_is_of_one_step(small, until):
    crafting = small(CraftLab, craft_steps=40)
    source = PoisonSource(crafting, small_attack())
    press(crafting, "run")
    taken = []
    while not crafting.runner.phase.ended:
        epsilon = 5 + len(taken) % 50
        crafting.turn(epsilon=epsilon / 255)
        if batch := source.look().batch:
            taken.append(batch)
    until(lambda: crafting.runner.phase.ended)
    bases = crafting.scenario.base_images
    by_step = {}
    for batch in taken:
        assert batch.settings.epsilon == crafting.records[batch.step - 1].epsilon
        same = by_step.setdefault(batch.step, batch.pictures)
        assert torch.equal(same, batch.pictures)
        change = (batch.pictures.float() - 255 * bases).abs().max()
        assert change <= 255 * batch.settings.epsilon + 1e-3


def test_a_victim_beside_the_crafting_names_its_step(small, until):
    lab = small(CraftLab)
    step(lab, until, 2)
    lab.victim.start()
    until(lambda: lab.victim.runner.phase.ended)
    assert "(craft step 2 of 6)" in lab.victim.axes.get_title(loc="left")
    assert "the poisons of craft step 2 of 6: after epoch 3" in lab.victim.describe()
