"""What the attacker wants is said in one way, also where it is any other class."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from mpkit.lab import CollisionLab, CompareLab, CraftLab, DynamicsLab, ReplayLab, VictimsLab
from mpkit.lab.kit.runner import Phase
from mpkit.lab.replay import RECORDED
from mpkit.lab.wish import most_poisons, wanted_by, wish_of
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import SMALL, said, small_attack

THREE = SMALL | {"classes": ("1", "3", "7"), "n_train": 90, "n_test": 60, "craft_steps": 1}
GOALS = {
    "targeted": {"target_class": "1", "poison_class": "7"},
    "self-concealment": {"target_class": "1"},
    "multi-class": {"target_class": "1", "adversarial_class": "7"},
}
WANTED = {"targeted": "7", "self-concealment": "anything but 1", "multi-class": "7"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    monkeypatch.setenv("MPKIT_SCALE", "ci")


@pytest.fixture(params=GOALS)
def goal(request):
    return request.param


def given(goal: str) -> dict:
    return THREE | {"goal": goal} | GOALS[goal]


def run(lab) -> str:
    lab.runner.run()
    assert lab.runner.phase is Phase.DONE, lab.runner.error
    lab.canvas.draw()
    return lab.describe()


def legends(figure) -> list[list[str]]:
    every = [axes.get_legend() for axes in figure.axes]
    return [[text.get_text() for text in found.get_texts()] for found in every if found]


def test_a_wish_is_a_class_or_any_other(goal):
    attack = small_attack(**given(goal))
    scenario = load_scenario(attack, progress=False)
    wish = wish_of(scenario)
    assert (wish.true, wish.wanted) == ("1", WANTED[goal])
    assert wanted_by(attack) == WANTED[goal]
    hide = goal == "self-concealment"
    assert wish.of([0.5, 0.2, 0.3]) == pytest.approx(0.5 if hide else 0.3)
    rows = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]])
    assert wish.of(rows).tolist() == pytest.approx([0.5, 0.9] if hide else [0.3, 0.7])
    labels = set(scenario.train.y[wish.rows(scenario.train)].tolist())
    assert labels == ({1, 2} if hide else {2})


def test_a_run_that_names_no_class_says_what_can_be_said():
    attack = dataclasses.replace(small_attack(), target_class=None, poison_class=None)
    assert wanted_by(attack) == "the adversarial class"
    assert wanted_by(dataclasses.replace(attack, goal="self-concealment")) == (
        "anything but its class"
    )


def test_as_many_can_be_poisoned_as_the_scenario_may(goal):
    attack = small_attack(**given(goal))
    assert most_poisons(attack, load_scenario(attack, progress=False).train) == (
        90 if goal == "multi-class" else 30
    )


def test_craft_lab_says_what_is_wanted(goal):
    lab = CraftLab(**given(goal))
    control = lab.controls["poisons"]
    assert (control.high, control.value) == (90 if goal == "multi-class" else 30, 9)
    told, wanted = run(lab), WANTED[goal]
    assert f"a picture of 1 is called {wanted};" in told
    odds = re.search(rf"say 1 with (\d+)% and {wanted} with (\d+)%", told)
    if goal == "self-concealment":
        assert 99 <= int(odds[1]) + int(odds[2]) <= 101
    assert [f"below: called {wanted}"] == [t for t in legends(lab.view.figure)[0] if "below" in t]
    faces = lab.controls["poison_class"]
    assert (not faces.row.enabled) is (goal != "targeted")
    assert faces.value == {"targeted": 2}.get(goal, -1)
    control.slider.value = control.high
    assert said(lab).count("After reset") == 1
    lab.transport.buttons["reset"].click()
    assert len(lab.scenario.bases) == control.value == control.high
    lab.close()


def test_so_does_the_victim_beside_it(goal):
    lab = CraftLab(**given(goal))
    run(lab)
    lab.victim.start()
    assert lab.victim.runner.phase is Phase.DONE, lab.victim.runner.error
    assert legends(lab.victim.figure)[0] == ["1", WANTED[goal]]
    told = re.search(r"1, the target's own class, (\d+)% and (.*?) (\d+)%", lab.victim.describe())
    assert told[2] == WANTED[goal]
    if goal == "self-concealment":
        assert 99 <= int(told[1]) + int(told[3]) <= 101
    lab.close()


def test_dynamics_lab_says_what_is_wanted(goal):
    lab = DynamicsLab(**given(goal))
    assert f"a 1 is to be called {WANTED[goal]}." in lab.describe()
    told = run(lab)
    assert f"%, {WANTED[goal]} " in told
    (titled,) = (a.get_title(loc="left") for a in lab.view.axes[2:])
    assert titled == f"the target: P({WANTED[goal]})"
    assert ["1", WANTED[goal], "poisons", "target"] in legends(lab.view.figure)
    if goal == "self-concealment":
        r = lab.records[-1]
        assert [a + b for a, b in zip(r.true, r.adversarial, strict=True)] == pytest.approx([1, 1])
    lab.close()


def test_victims_lab_says_what_is_wanted(goal):
    lab = VictimsLab(**given(goal))
    assert f"call a picture of 1 {WANTED[goal]}." in run(lab)
    lab.close()


def test_compare_lab_runs_every_goal(goal):
    lab = CompareLab({"one": {}}, pairs=[("1", "3", 0)], **given(goal))
    words = []
    lab.view.say = words.append
    run(lab)
    wanted = {"self-concealment": "anything but 1"}.get(goal, "3")
    assert words[0] == f"crafting 1 → {wanted}, one: step 1"
    lab.close()


def test_a_collision_is_with_another_class(goal):
    if goal == "targeted":
        return CollisionLab(**given(goal)).close()
    with pytest.raises(ValueError, match=f"goal targeted, not {goal}"):
        CollisionLab(**given(goal))


def test_a_recorded_run_without_classes_is_replayed_without_question_marks():
    lab = ReplayLab()
    folders = sorted(p.parent for p in RECORDED.glob("*/settings.json"))
    for folder in folders:
        other = ReplayLab(folder)
        shown = legends(other.figure)[0] + [other.rates.get_xlabel()]
        assert not any("?" in words for words in shown)
        other.close()
    lab.attack = dataclasses.replace(lab.attack, poison_class=None, adversarial_class=None)
    lab._lay_out()
    assert "below: called the adversarial class" in legends(lab.figure)[0]
    lab.close()
