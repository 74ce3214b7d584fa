"""DefenseLab: one defense after another on the same poisons."""

from __future__ import annotations

import pytest
import torch

from mpkit.defenses.defended import defended_victims
from mpkit.defenses.defense import DEFENSES, Defense
from mpkit.lab import CraftLab, DefenseLab
from mpkit.lab.defense_judged import ARMS, QUICK, among
from mpkit.lab.kit.runner import Phase
from mpkit.metapoison import poisons_of
from mpkit.runs.prepared import prepare
from tests.lab.conftest import finished, press, said, small_attack

pytestmark = pytest.mark.usefixtures("unpainted")

CHOSEN = ("none", "loss", "jpeg")


@pytest.fixture
def lab(small):
    return small(DefenseLab, defenses=CHOSEN, suspected=0.2)


def test_its_numbers_are_those_of_the_library(lab, until):
    finished(lab, until)
    assert [j.defense for j in lab.judged] == list(CHOSEN)
    ready = prepare(small_attack(), progress=False)
    *_, (state, _) = ready.craft()
    arms = ready.arms(poisons_of(ready.scenario, state, ready.attack.settings), ARMS)
    runs = defended_victims(
        ready.scenario,
        ready.victim_network,
        ready.attack.victim_recipe,
        arms,
        defense=Defense(defense="loss", suspected=0.2),
        victims=2,
        seed=ready.attack.settings.seed,
        plan=ready.victim_plan,
    )
    assert [r for _, some in runs for r in some] == list(lab.judged[1].records)
    assert lab.curve() == (
        [DEFENSES.index(name) for name in CHOSEN],
        [j.rate().rate for j in lab.judged],
    )
    assert all(j.words in lab.describe() for j in lab.judged)
    assert lab.runner.steps == lab.total()


def test_without_anything_else_said_the_quick_defenses_are_judged(small):
    assert small(DefenseLab).chosen == QUICK == among(QUICK)
    assert small(DefenseLab, defense="jpeg").chosen == ("none", "jpeg")


def test_poisons_come_from_a_craft_lab(small, until):
    crafting = small(CraftLab)
    lab = small(DefenseLab, crafting, defenses=("none",))
    finished(crafting, until)
    finished(lab, until)
    assert lab.crafting is None
    assert torch.equal(lab.batch.pictures, crafting.poisons())


def test_what_is_thrown_away_is_shown_of_the_latest_filter_or_of_the_one_that_is_looked_at(
    lab, until
):
    assert "Here will be" in lab.thrown.words.value
    finished(lab, until)
    assert "loss, the most suspicious first" in lab.thrown.words.value
    lab.controls["look"].menu.value = "jpeg"
    assert "jpeg throws nothing away" in lab.thrown.words.value
    lab.controls["look"].menu.value = ""
    assert "loss, the most" in lab.thrown.words.value


def test_settings_wait_for_a_reset_and_move_the_point(lab, until):
    finished(lab, until)
    lost = lab.judged[1].screenings["clean"].lost
    lab.controls["set_up"].menu.value = "loss"
    lab.controls["suspected"].box.value = 0.05
    assert "After reset" in said(lab)
    assert lab.attack.defense.suspected == 0.2
    press(lab, "reset")
    finished(lab, until)
    assert lab.attack.defense.suspected == 0.05
    assert lab.judged[1].screenings["clean"].lost < lost


def test_which_defenses_are_judged_can_be_chosen_but_never_none(lab, until):
    lab.controls["set_up"].menu.value = "jpeg"
    lab.controls["judged"].menu.value = False
    assert lab.chosen == ("none", "loss")
    assert list(lab.view.names) == ["none", "loss"]
    for name in ("none", "loss"):
        lab.controls["set_up"].menu.value = name
        lab.controls["judged"].menu.value = False
    assert "no defense is left" in said(lab)
    assert lab.chosen == ("loss",)
    lab.controls["set_up"].menu.value = "none"
    lab.controls["judged"].menu.value = True
    assert lab.chosen == ("none", "loss")


def test_stopped_in_the_middle_it_keeps_what_was_judged(lab, until):
    press(lab, "run")
    until(lambda: len(lab.judged) == 1)
    press(lab, "stop")
    until(lambda: lab.runner.phase.ended)
    assert lab.runner.phase in (Phase.STOPPED, Phase.DONE)
    assert lab.judged[0].words in lab.describe()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"defenses": ("prayer",)}, "prayer"),
        ({"defenses": ()}, "no defense is left"),
        ({"suspected": 2}, "suspected"),
        ({"magic": 2}, "magic"),
    ],
)
def test_what_is_not_there_is_refused(small, given, words):
    with pytest.raises((ValueError, TypeError), match=words):
        small(DefenseLab, **given)


def test_poisons_are_given_once(small):
    with pytest.raises(ValueError, match="not both"):
        small(DefenseLab, torch.zeros(1), poisons=torch.zeros(1))


def test_a_code_holds_the_defenses_and_their_settings(lab, small):
    other = small(DefenseLab)
    other.use_code(lab.code())
    assert (other.chosen, other.attack, other.count) == (CHOSEN, lab.attack, 2)
    with pytest.raises(ValueError, match="out of range"):
        other.adopt(other.attack, other.own() | {"wanted": 0})
    with pytest.raises(ValueError, match="prayer"):
        other.adopt(other.attack, other.own() | {"defenses": "none,prayer"})
    assert other.chosen == CHOSEN
