"""VictimsLab's sliders: whom they tell, and what they change of an attack."""

from __future__ import annotations

import pytest

from mpkit.finetuning import load_weights
from mpkit.lab.kit.attack_lab import TRAINING
from mpkit.lab.victims_controls import changed, show_victims, victim_controls
from tests.lab.conftest import small_attack

pytestmark = pytest.mark.usefixtures("unpainted")

OWN = {"wanted": 4, "share": 100, "seed": 2}


@pytest.fixture
def controls(heard):
    more = lambda n: heard.append({"victims": n})  # noqa: E731
    return victim_controls(small_attack(), OWN, more, lambda **new: heard.append(new), print)


def test_controls_begin_with_what_is_in_force(controls, heard):
    attack = small_attack()
    assert (controls["victims"].value, controls["share"].value, controls["seed"].value) == (
        4,
        100,
        2,
    )
    assert controls["epochs"].value == attack.victim_recipe.epochs
    assert controls["network"].value == attack.network
    assert controls["fine_tune"].value == "no"
    assert heard == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("victims", 6, {"victims": 6}),
        ("share", 50, {"share": 50}),
        ("seed", 7, {"seed": 7}),
        ("epochs", 9, {"epochs": 9}),
    ],
)
def test_a_turn_is_told_by_name(name, value, told, controls, heard):
    controls[name].box.value = value
    assert heard == [told]


def test_a_network_that_is_named_is_trained_as_surrogates_are(controls, heard):
    controls["network"].menu.value = "convnet"
    assert heard == [{"victim_network": "convnet", "victim_fine_tune": None}]


def test_to_show_is_to_tell_nobody(controls, heard):
    attack = small_attack(victim_epochs=7, victim_network="convnet", victim_augment=True)
    show_victims(controls, attack, {"wanted": 9, "share": 30, "seed": 5})
    now = {name: controls[name].value for name in ("victims", "share", "seed", "epochs")}
    assert now == {"victims": 9, "share": 30, "seed": 5, "epochs": 7}
    assert controls["network"].value == "convnet"
    assert controls["augment"].value is True
    assert heard == []


def test_an_attack_is_changed_where_it_is_the_victims_own():
    attack = small_attack()
    found = changed(attack, {"epochs": 9, "lr": 0.05, "share": 50, "seed": 3})
    assert (found.victim_recipe.epochs, found.victim_recipe.lr) == (9, 0.05)
    assert found.without_victims() == attack.without_victims()
    assert changed(attack, {"share": 10}) == attack


@pytest.mark.parametrize("tuning", ["last", "all"])
def test_weights_that_are_tuned_bring_their_network(tuning):
    attack = small_attack()
    found = changed(attack, {"victim_fine_tune": tuning})
    assert found.victim_network == load_weights(attack.weights).network
    assert found.tuning_of_victims == tuning


def test_what_the_recipe_refuses_is_refused():
    for name, value in (("epochs", 0), ("lr", -1)):
        assert name in TRAINING
        with pytest.raises(ValueError, match=name):
            changed(small_attack(), {name: value})
