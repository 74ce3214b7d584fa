"""CraftLab's sliders and menus."""

from __future__ import annotations

from mpkit.lab import CraftLab
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import crafted, press, said


def test_colour_is_bounded_by_its_own_slider(small, until):
    lab = small(CraftLab, perturbation="recolor", epsilon_c=0.1)
    assert lab.controls["epsilon"].slider.disabled
    assert not lab.controls["epsilon_c"].slider.disabled
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon_c"].slider.value = 0.2
    crafted(lab, until)
    assert [round(r.epsilon_c, 3) for r in lab.records] == [0.1] + [0.2] * 5
    assert lab.marks == [(1.5, "ε_c 0.1 → 0.2")]
    press(lab, "reset")
    lab.controls["perturbation"].menu.value = "additive"
    assert lab.controls["epsilon_c"].slider.disabled
    assert lab.knobs().perturbation == "additive"


def test_a_class_that_cannot_be_is_refused_in_words(lab):
    target = lab.controls["target_class"]
    target.row.press(1)  # 7 is the poison class
    assert "must differ" in said(lab)
    assert target.row.picked == 0
    assert lab.waiting == {}
