"""An attack from flat names, and what is refused."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import torch

from mpkit.cli.options import flags
from mpkit.data import DEFAULT_DATA, load_dataset
from mpkit.defenses.defense import Defense
from mpkit.recipe import Recipe
from mpkit.runs.attack import DEFENSE, RECIPE, SETTINGS, Attack, make_attack
from mpkit.runs.scale import SCALES, defaults, usual_tuning
from mpkit.settings import Settings
from tests.conftest import tuned_attack
from tests.runs.conftest import random_attack

# ── as a value ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("epsilon", [1e-6, 0.5 / 255, 0.0039])
def test_an_epsilon_that_no_picture_can_show_is_refused(epsilon):
    with pytest.raises(ValueError, match=rf"^epsilon {epsilon:.4g} .* smallest step is 1/255"):
        Attack(settings=Settings(epsilon=epsilon))
    # It bounds the colours of nothing, and beside a colour change it may still tip a pixel.
    for perturbation in ("recolor", "both"):
        assert Attack(settings=Settings(epsilon=epsilon, perturbation=perturbation))
    assert make_attack("ci", epsilon=1 / 255).settings.epsilon == 1 / 255


# ── from flat names ─────────────────────────────────────────────────────────────────────────────


def flat(attack: Attack) -> dict[str, object]:
    """Each value of an attack under the one name that make_attack knows it by."""
    top = {f.name: getattr(attack, f.name) for f in dataclasses.fields(Attack)}
    settings, victim = top.pop("settings"), top.pop("victim_recipe")
    defense = top.pop("defense")
    top |= {name: getattr(settings, name) for name in SETTINGS}
    top |= {name: getattr(settings.recipe, name) for name in RECIPE}
    top |= {name: getattr(defense, name) for name in DEFENSE}
    return top | {f"victim_{name}": getattr(victim, name) for name in RECIPE}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", SCALES)
def test_every_flat_name_finds_its_place(seed, scale):
    wanted = random_attack(seed)
    given = {k: v for k, v in flat(wanted).items() if v is not None}
    made = flat(make_attack(None if wanted.scenario else scale, **given))
    assert {k: made[k] for k in given} == given


def test_the_flat_names_are_all_the_fields():
    kinds = {"settings", "recipe", "victim_recipe"}
    every = (Attack, Settings, Recipe, Defense)
    fields = [f.name for kind in every for f in dataclasses.fields(kind)]
    fields.remove("defense")  # that of an attack, and its name
    assert len(set(fields)) == len(fields), "two fields of one name: make_attack can't tell them"
    assert set(fields) - kinds == {k for k in flat(Attack()) if k in fields}
    assert not {f"victim_{name}" for name in RECIPE} & set(fields)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("data", ["digits", "signs", "fashion", "cifar10"])
def test_what_is_not_given_comes_from_the_scale_then_from_the_defaults(data, scale):
    made = flat(make_attack(scale, data=data, models=None))
    scaled = defaults(data, scale, usual_tuning(data, scale))
    for name, value in flat(Attack(data=data)).items():
        own = name.removeprefix("victim_")
        # Victims train as surrogates do where nothing else is said.
        by_default = scaled.get(own, value) if name.removeprefix("victim_") in RECIPE else value
        assert made[name] == scaled.get(name, by_default), name
    assert make_attack(scale, data=data, models=5).settings.models == 5


def test_one_constant_says_which_data_are_the_default():
    assert inspect.signature(load_dataset).parameters["source"].default == DEFAULT_DATA
    for scale in SCALES:
        assert make_attack(scale) == make_attack(scale, data=DEFAULT_DATA)
    assert Attack().data == DEFAULT_DATA
    assert f"({DEFAULT_DATA})" in flags()["data"].text


def test_victims_follow_the_surrogates_unless_told_otherwise():
    made = make_attack("ci", epochs=7, lr=0.2, decays=(3,), victim_lr=0.05, victim_momentum=0.9)
    assert (made.victim_recipe.epochs, made.victim_recipe.decays) == (7, (3,))
    assert (made.victim_recipe.lr, made.settings.recipe.lr) == (0.05, 0.2)
    assert (made.victim_recipe.momentum, made.settings.recipe.momentum) == (0.9, 0.0)


def test_the_scale_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    assert make_attack() == make_attack("ci") != make_attack("laptop")
    monkeypatch.setenv("MPKIT_SCALE", "huge")
    with pytest.raises(ValueError, match="MPKIT_SCALE"):
        make_attack()


@pytest.mark.parametrize(("there", "device"), [(True, None), (True, "cpu"), (False, None)])
def test_the_scale_follows_the_device(there, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    scale = "gpu" if there and device != "cpu" else "laptop"
    assert make_attack(device=device) == make_attack(scale, device=device)


@pytest.mark.parametrize("wrong", ["epsilons", "victim_", "recipe_lr", "victim_models"])
def test_an_unknown_name_is_refused(wrong):
    with pytest.raises(TypeError, match=wrong):
        make_attack("ci", **{wrong: 1})


# ── a whole run ─────────────────────────────────────────────────────────────────────────────────


def test_no_victims_are_refused():
    with pytest.raises(ValueError, match="victims must be at least 1, not 0"):
        make_attack("ci", victims=0)


# ── the attack ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"fine_tune": "some"}, "no, last, all"),
        ({"victim_fine_tune": "most"}, "no, last, all"),
        ({"victim_augment": True}, "victim_fine_tune all"),
        ({"victim_flip": True}, "victim_fine_tune all"),
    ],
)
def test_bad_settings_are_refused_with_a_way_out(given, named):
    with pytest.raises(ValueError, match=named):
        tuned_attack(**given)


def test_a_network_that_a_defense_cannot_train_is_refused_before_anything_runs():
    given = {"data": "signs", "fine_tune": "no", "defense": "dp-sgd"}
    make_attack("ci", **given, network="mlp").networks((3, 32, 32), 6)
    with pytest.raises(ValueError, match=r"dp-sgd .* batch norm .*convnet"):
        make_attack("ci", **given, victim_network="convnet-bn").networks((3, 32, 32), 6)
