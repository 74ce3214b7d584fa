"""What an attack can be told: every value out of range is refused by name."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest

from mpkit.baselines import Collision
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack
from mpkit.setting import settings_of
from mpkit.settings import Settings

SETTINGS = settings_of(Settings)
NUMBERS = [name for name, s in SETTINGS.items() if s.kind in (int, float)]
BOUNDED = [name for name in NUMBERS if SETTINGS[name].low is not None]
WHOLE = [name for name in NUMBERS if SETTINGS[name].kind is int]
CHOICES = [name for name, s in SETTINGS.items() if s.choices]


def test_what_is_tried_here_is_nearly_everything():
    others = {"recipe", "craft_decays", "stagger", "signed"}
    assert {*NUMBERS, *CHOICES} == SETTINGS.keys() - others
    assert set(NUMBERS) - set(BOUNDED) == {"seed"}


@pytest.mark.parametrize("name", BOUNDED)
def test_the_ends_of_a_range_are_allowed(name):
    for value in (SETTINGS[name].low, SETTINGS[name].high):
        settings = Settings(**{"perturbation": "both", name: value})
        assert getattr(settings, name) == value


@pytest.mark.parametrize("name", BOUNDED)
def test_a_number_out_of_range_is_refused_with_the_range(name):
    low, high = SETTINGS[name].low, SETTINGS[name].high
    below = low - 1 if low >= 1 else -1e-9
    for value in (below, high + 1, -math.inf, math.inf, math.nan):
        if name in WHOLE and isinstance(value, float):
            continue
        with pytest.raises(ValueError, match=name) as error:
            Settings(**{name: value})
        assert f"must lie between {low} and {high}, not {value}" in str(error.value)


@pytest.mark.parametrize("value", ["8", None, [1], (0.1, 0.2), 1j, True], ids=repr)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be a .*not {re.escape(repr(value))}"):
        Settings(**{name: value})


@pytest.mark.parametrize("value", [2.5, 2.0, math.nan, math.inf], ids=repr)
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_counted_is_a_whole_number(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be a whole number.*not {value}"):
        Settings(**{name: value})


@pytest.mark.parametrize("value", ["sideways", "", None, 3, "Margin", ["margin"]], ids=repr)
@pytest.mark.parametrize("name", CHOICES)
def test_an_unknown_choice_is_refused_with_the_known_ones(name, value):
    known = ", ".join(SETTINGS[name].choices)
    words = f"{name} {value!r} is unknown; there are: {known}"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        Settings(**{name: value})


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_can_be_made(name):
    for value in SETTINGS[name].choices:
        assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize("decays", [5, "20", (1.5,), ("20",), None, [20, None]], ids=repr)
def test_decays_are_craft_steps(decays):
    with pytest.raises(ValueError, match="craft_decays"):
        Settings(craft_decays=decays)


@pytest.mark.parametrize(
    "given",
    [
        {"epsilon": 0},
        {"epsilon": 0.0, "epsilon_c": 0.04},
        {"epsilon_c": 0, "perturbation": "recolor"},
        {"epsilon": 0, "epsilon_c": 0, "perturbation": "both"},
    ],
    ids=str,
)
def test_nothing_to_perturb_is_refused(given):
    with pytest.raises(ValueError, match="0 leaves nothing to perturb"):
        Settings(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"epsilon_c": 0},
        {"epsilon": 0, "perturbation": "recolor"},
        {"epsilon": 0, "perturbation": "both"},
        {"epsilon_c": 0, "perturbation": "both"},
    ],
    ids=str,
)
def test_one_bound_may_be_zero_where_the_other_is_used(given):
    assert Settings(**given)


@pytest.mark.parametrize(
    "given",
    [{"momentum": 0.9}, {"weight_decay": 2e-4}, {"augment": True}, {"flip": True}],
    ids=str,
)
def test_surrogates_train_by_plain_sgd(given):
    with pytest.raises(ValueError, match="surrogates train by plain SGD"):
        Settings(recipe=Recipe(**given))


@pytest.mark.parametrize("recipe", [None, {}, "fast", Settings])
def test_a_recipe_is_a_recipe(recipe):
    with pytest.raises(ValueError, match="recipe"):
        Settings(recipe=recipe)


def test_numpy_numbers_are_numbers():
    settings = Settings(
        epsilon=np.float32(0.1), models=np.int64(3), craft_decays=(np.int64(4),), seed=np.int32(1)
    )
    assert settings.models == 3


def test_replace_checks_as_well_and_leaves_the_old_one_alone():
    settings = Settings()
    changed = dataclasses.replace(settings, epsilon=0.05, unroll_steps=1)
    assert (changed.epsilon, changed.unroll_steps) == (0.05, 1)
    assert settings == Settings()
    with pytest.raises(ValueError, match="epsilon"):
        dataclasses.replace(settings, epsilon=1.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.epsilon = 0.2


def test_settings_with_equal_values_are_equal():
    assert Settings() == Settings(recipe=Recipe())
    assert Settings() != Settings(seed=1)
    assert hash(Settings()) == hash(Settings(recipe=Recipe()))


def test_every_switch_is_documented():
    for part in (Settings, Recipe, Attack, Collision):
        for name, s in settings_of(part).items():
            if name not in ("settings", "recipe", "victim_recipe", "defense"):
                assert s.text
                assert f"    {name}: {s.text}" in part.__doc__
