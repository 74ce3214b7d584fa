"""Limits: what a teacher may say, and what is refused."""

from __future__ import annotations

import pytest

from mpkit.contest.limits import GROUND, RED, Limits, limits_of
from mpkit.runs.attack import make_attack
from tests.contest.conftest import LIMITS


def test_what_is_not_said_is_as_usual():
    assert limits_of({}) == Limits()
    assert limits_of({"epsilon": "4/255"}).epsilon == 4 / 255


def test_json_leads_back():
    limits = limits_of(
        LIMITS | {"named": {"target_class": 1, "poison_class": 7, "target_index": 0}}
    )
    assert limits_of(limits.as_json()) == limits
    assert limits_of(Limits().as_json()) == Limits()


def test_every_team_stands_on_the_ground_and_victims_are_not_reds():
    limits = limits_of(LIMITS)
    attack = limits.attack(epochs=9, craft_steps=5)
    assert (attack.data, attack.budget, attack.victims) == ("digits", 0.05, 2)
    assert attack.settings.recipe.epochs == 9
    assert attack.victim_recipe.epochs == LIMITS["ground"]["epochs"]
    assert attack.settings.epsilon == pytest.approx(26 / 255)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([], "limits must be an object"),
        ({"budgets": 1}, "'budgets' is unknown; there are: allowance, budget"),
        ({"budget": 0}, "budget must be more than 0"),
        ({"budget": float("nan")}, "budget must"),
        ({"budget": "a lot"}, "budget must be a number"),
        ({"epsilon": None}, "epsilon is null"),
        ({"epsilon": 0}, "epsilon must lie between"),
        ({"targets": 1.5}, "targets must be a whole number"),
        ({"victims": True}, "victims must be a whole number"),
        ({"craft_seconds": 0}, "craft_seconds must be more than 0"),
        ({"memory": 0.5}, "memory must lie between 1 and 1024, not 0.5"),
        ({"memory": 0}, "memory must lie"),
        ({"ground": 3}, "ground must be"),
        ({"ground": {"seed": 3}}, "'seed' is unknown"),
        ({"ground": {"defense": "jpeg"}}, "'defense' is unknown"),
        ({"ground": {"epsilon": 1}}, "'epsilon' is unknown"),
        ({"ground": {"method": "label-flip"}}, "'method' is unknown"),
        ({"ground": {"data": {}}}, "a value can't be understood"),
        ({"ground": {"epochs": 0}}, "epochs must"),
        ({"named": {"target_class": "1"}}, "named wants target_class, poison_class, target_index"),
    ],
)
def test_what_is_refused_is_named(row, words):
    with pytest.raises(ValueError, match=words):
        limits_of(row)


def test_whatever_may_be_said_is_known_to_an_attack():
    for name in GROUND | RED:
        with pytest.raises((ValueError, TypeError)) as error:
            make_attack(**{name: object()})
        assert "unexpected keyword" not in str(error.value), name
