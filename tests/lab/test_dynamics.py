"""DynamicsLab: twins that start alike and part."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab import CraftLab, DynamicsLab
from mpkit.lab.kit.runner import Phase
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from tests.lab.conftest import SMALL, finished

pytestmark = pytest.mark.usefixtures("unpainted")

# ── DynamicsLab ───────────────────────────────────────────────────────────────────────────────


def test_twins_start_alike_and_without_poison_stay_so(small, until):
    lab = small(DynamicsLab)
    lab.controls["epsilon"].slider.value = 0
    finished(lab, until)
    clean, poisoned = torch.stack(lab.path).unbind(1)
    assert torch.equal(clean, poisoned)
    for r in lab.records[1:]:
        assert r.losses[0] == r.losses[1]
        assert r.epsilon == 0


def test_twins_part_and_the_same_seed_gives_the_same(small, until):
    lab = small(DynamicsLab)
    finished(lab, until)
    clean, poisoned = torch.stack(lab.path).unbind(1)
    assert torch.equal(clean[0], poisoned[0])
    assert not torch.equal(clean[-1], poisoned[-1])
    assert [r.epoch for r in lab.records] == [0, 1, 2, 3]
    assert f"accuracy {lab.records[-1].accuracies[1]:.1%}" in lab.describe()
    first = lab.records[1:]
    lab.transport.buttons["reset"].click()
    finished(lab, until)
    assert lab.records[1:] == first


def test_epsilon_acts_at_the_next_epoch(small, until):
    bases = prepare(make_attack("ci", **SMALL)).scenario.base_images
    poisons = bases.mul(255).round().clamp(0, 229).byte() + 26
    lab = small(DynamicsLab, poisons, victim_epochs=6)
    for _ in range(3):
        count = lab.runner.steps
        lab.transport.buttons["step"].click()
        until(lambda count=count: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon"].slider.value = 10
    finished(lab, until)
    assert [round(255 * r.epsilon) for r in lab.records] == [26, 26, 26, 10, 10, 10, 10]
    assert lab.marks == [(2.5, "ε 26 → 10")]
    lab.transport.buttons["reset"].click()
    assert (lab.epsilon, lab.controls["epsilon"].slider.value) == (None, 26)  # as they were crafted


def test_twins_keep_the_poisons_they_began_with(small, until):
    crafting = small(CraftLab)
    finished(crafting, until)
    lab = small(DynamicsLab, crafting)
    count = lab.runner.steps
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    before = crafting.poisons()
    crafting.transport.buttons["reset"].click()
    crafting.controls["epsilon"].slider.value = 3
    finished(crafting, until)
    finished(lab, until)
    assert torch.equal(lab.poisons, before)
    assert not torch.equal(crafting.poisons(), before)


def test_poisons_that_do_not_fit_are_refused(small):
    with pytest.raises(ValueError, match="uint8"):
        small(DynamicsLab, torch.zeros(3, 1, 8, 8))


# ── what a hostile hand found ─────────────────────────────────────────────────────────────────


def test_twins_follow_a_craft_lab_to_other_classes(small, until):
    craft = small(CraftLab, classes=("1", "7", "3"), target_class="1", poison_class="7")
    finished(craft, until)
    twins = DynamicsLab(craft)
    try:
        craft.transport.buttons["reset"].click()
        craft.later(poison_class="3")
        finished(craft, until)
        finished(twins, until)
        assert "to be called 3" in twins.describe() or ", 3 " in twins.describe()
        assert {round(255 * r.epsilon) for r in twins.records} == {26}
    finally:
        twins.close()
        twins.runner.close(30)


def test_twins_stay_alike_where_every_poison_is_taken_out(small, until):
    lab = small(DynamicsLab)
    for i in range(len(lab.ready.scenario.bases)):
        lab.exhibit.pick(i)
        lab.exhibit.toggle()
    finished(lab, until)
    clean, poisoned = torch.stack(lab.path).unbind(1)
    assert torch.equal(clean, poisoned)
    assert "without poisons 1, 2, 3, 4, 5 and 6" in lab.describe()


def test_the_pictures_are_as_strong_as_the_twin_gets_them(small, until):
    lab = small(DynamicsLab)
    lab.controls["epsilon"].slider.value = 0
    finished(lab, until)
    assert lab.exhibit.gallery.poisons == lab.exhibit.gallery.bases
