"""Controls of declared settings: labels, ranges, and classes picked by a picture."""

from __future__ import annotations

import pytest
import torch

from mpkit.data import Dataset
from mpkit.lab.kit.attack_lab import ATTACK, CRAFTING, TRAINING
from mpkit.lab.kit.controls import Choice, Number
from mpkit.lab.kit.dials import ClassDial, dial, dials, show
from mpkit.recipe import Recipe
from mpkit.settings import Settings

pytestmark = pytest.mark.usefixtures("unpainted")

EVERY = {**CRAFTING, **TRAINING, **ATTACK}
TURNED = [name for name, s in EVERY.items() if s.dial.label]
NUMBERS = [name for name in TURNED if EVERY[name].dial.low is not None]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_place_of_a_slider_is_allowed(name):
    s = EVERY[name]
    for place in (s.dial.low, s.dial.high):
        s.check(s.kind(s.taken(place)))


@pytest.mark.parametrize("name", NUMBERS)
def test_a_slider_begins_at_the_value_in_force_and_tells_of_another(name):
    s, heard = EVERY[name], []
    control = dial(s, s.default, heard.append, print)
    assert isinstance(control, Number)
    assert control.value == pytest.approx(s.shown(s.default))
    assert heard == []
    control.box.value = s.dial.high
    assert heard == [s.taken(s.dial.high)]


def test_a_label_and_a_range_may_differ_from_what_is_declared():
    control = dial(CRAFTING["seed"], 3, print, print, label="victims' seed", slider=(1, 5))
    assert (control.label, control.low, control.high) == ("victims' seed", 1, 5)
    control = dial(CRAFTING["perturbation"], "both", print, print, label="colours?")
    assert isinstance(control, Choice)
    assert control.value == "both"


def test_the_control_tells_of_its_own_name():
    heard = []
    for kind, declared in ((Settings(), CRAFTING), (Recipe(), TRAINING)):
        found = dials(declared, kind, lambda **new: heard.append(new), print)
        assert found.keys() == {n for n, s in declared.items() if s.dial.label}
        name = next(n for n in found if isinstance(found[n], Number))
        found[name].box.value = declared[name].dial.high
        assert heard.pop() == {name: declared[name].taken(declared[name].dial.high)}


def test_values_without_a_control_are_passed_over():
    found = dials(TRAINING, Recipe(), print, print)
    show(found, vars(Recipe(epochs=7)) | {"something": 3}, TRAINING)
    assert found["epochs"].value == 7
    show({"share": found["epochs"]}, {"share": 9}, {})  # of no declared setting: as it is
    assert found["epochs"].value == 9


def test_a_class_is_picked_by_its_first_picture():
    x = torch.arange(4.0)[:, None, None, None].expand(4, 1, 2, 2).contiguous() / 255
    data, heard = Dataset(x, torch.tensor([1, 0, 1, 0]), ("cat", "dog"), "pets"), []
    control = ClassDial(ATTACK["target_class"], data, heard.append, print)
    assert control.names == ["cat", "dog"]
    control.show("dog")
    assert control.row.picked == 1
    assert heard == []
    control.row.press(0)
    assert heard == ["cat"]
