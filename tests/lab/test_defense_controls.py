"""DefenseLab's controls: of settings, those of the defense that is set up are to be seen."""

from __future__ import annotations

from mpkit.defenses.defense import DEFENSES
from mpkit.lab import DefenseLab
from mpkit.lab.defense_controls import DEFENSE
from tests.lab.conftest import finished


def seen(lab) -> set[str]:
    there = DEFENSE.keys() & lab.controls.keys()
    return {name for name in there if lab.controls[name].widget.layout.display != "none"}


def test_every_setting_with_a_dial_has_a_control(small):
    lab = small(DefenseLab)
    wanted = {name for name, s in DEFENSE.items() if s.dial.label}
    assert wanted <= lab.controls.keys()


def test_only_what_the_defense_reads_is_to_be_seen(small):
    lab = small(DefenseLab)
    for name in DEFENSES:
        lab.controls["set_up"].menu.value = name
        acting = {n for n, s in DEFENSE.items() if s.only is None or name in s.only[1]}
        assert seen(lab) == acting & lab.controls.keys(), name


def test_controls_show_what_waits(small, until):
    lab = small(DefenseLab, defenses=("none", "loss"))
    finished(lab, until)
    lab.controls["set_up"].menu.value = "loss"
    lab.controls["suspected"].box.value = 0.15
    lab.controls["judged"].menu.value = False
    lab.controls["set_up"].menu.value = "none"
    assert lab.controls["judged"].value is True
    lab.controls["set_up"].menu.value = "loss"
    assert lab.controls["judged"].value is False
    assert lab.controls["suspected"].value == 0.15
    assert lab.chosen == ("none", "loss")
