"""Which reason is given, from made-up facts; real failures are in tests/runs/test_facts.py."""

from __future__ import annotations

import dataclasses
import math

import pytest

from mpkit.evaluation.why import APART, DRIVEN, FEW, GROWN, HALF, SPENT, Facts, why

FELL = Facts(
    won=1, n=8, losses=((2.0, 1.0),) * 2 + ((-1.0, -0.5),) * 10,
    ages=tuple((5 + i % 5, 5 + (i + 2) % 5) for i in range(12)), epochs=10, spent=0.9,
    epsilon="ε = 8/255", ahead=3, margin=4.0, third="near", near=3.5,
)  # fmt: skip
STUCK = dataclasses.replace(FELL, losses=((3.5, 3.0),) * 12)


def told(facts: Facts, **changes) -> str:
    return why(dataclasses.replace(facts, **changes))


@pytest.mark.parametrize("won", [5, 8])
def test_a_success_gets_no_sentence(won):
    assert told(FELL, won=won) == told(STUCK, won=won) == ""
    assert told(FELL, won=HALF * FELL.n) != ""


@pytest.mark.parametrize("facts", [STUCK, FELL])
def test_a_far_target_asks_for_other_bases_where_they_would_help(facts):
    far = {"third": "far", "margin": 9.0}
    assert "try the nearest for “which pictures”, a nearer one" in told(facts, **far, choice=True)
    assert "which pictures" not in told(facts, **far)
    assert "which pictures" not in told(facts, choice=True)


def test_nothing_is_said_of_what_is_not_known():
    assert told(FELL, n=0, won=0) == told(FELL, losses=(), ages=()) == ""


@pytest.mark.parametrize(
    ("facts", "changes", "reason", "numbers"),
    [
        (FELL, {"diverged": 5}, "diverged", "5 of 8"),
        (STUCK, {}, "the losses did not fall", "+3.25"),
        (STUCK, {"margin": None, "near": None, "third": None}, "the losses did not fall", "90%"),
        (STUCK, {"margin": 9.0, "third": "far"}, "the target is far", "+9.0"),
        (FELL, {"other": (7, 8, "batch")}, "batch norm", "7 of 8"),
        (FELL, {"differ": ("network x and not y",)}, "the victim differs", "network x and not y"),
        (FELL, {"ages": ((3,),) * 12, "losses": ((-1.0,),) * 12}, "too few models", "met 1 "),
        (FELL, {"losses": ((-6.0, -7.0),) * 12}, "driven too far", "-6.5"),
        (FELL, {"third": "far", "margin": 9.0}, "the target is far", "+9.0"),
        (FELL, {}, "carries over badly", "1 of 8"),
    ],
)  # fmt: skip
def test_the_reason_is_named_with_its_numbers_and_something_to_try(facts, changes, reason, numbers):
    said = told(facts, **changes)
    assert said.startswith("Why it failed: ")
    assert reason in said
    assert numbers in said
    assert reason.startswith("diverged") or "try " in said or "craft with" in said
    assert said.endswith(".")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("method", "losses", "reason", "numbers"),
    [
        ("gradient-matching", ((0.9, 0.7), (0.3, 0.1)), "carries over badly", "from 0.8 to 0.2"),
        ("bullseye", ((0.9,), (0.88,)), "bullseye polytope found little", "from 0.9 to 0.88"),
        ("watermark", ((4.0,),), "looks at no network", "ε = 8/255"),
        ("label-flip", ((4.0,),), "outvote", "more “poisons”"),
    ],
)
def test_a_rival_has_reasons_of_its_own(method, losses, reason, numbers):
    said = told(FELL, method=method, losses=losses, ages=((10,),) * len(losses))
    assert reason in said
    assert numbers in said
    assert "steps ahead" not in said
    assert "try " in said.lower()
    assert told(FELL, method=method, won=5) == ""


def test_what_is_spent_decides_which_slider_comes_first():
    spent, left = told(STUCK, spent=SPENT), told(STUCK, spent=SPENT - 0.01)
    assert spent.index("“ε (n/255)”") < spent.index("“K, steps ahead”")
    assert "craft steps" not in spent
    assert left.index("“craft steps”") < left.index("“ε (n/255)”")


def test_young_surrogates_say_nothing():
    young = tuple((GROWN * 10 - 1, 9) for _ in range(12))
    assert dataclasses.replace(FELL, losses=((-5.0, 2.0),) * 12, ages=young).late == [2.0] * 3
    only_young = ((1, 2),) * 12  # the oldest there are
    assert dataclasses.replace(FELL, losses=((-5.0, 2.0),) * 12, ages=only_young).late == [2.0] * 3


def test_models_are_counted_each_from_fresh_weights():
    assert dataclasses.replace(FELL, ages=((0, 3), (1, 4), (2, 0), (0, 1))).met == 4
    assert dataclasses.replace(FELL, ages=((0,), (1,))).met == 1 < FEW


def test_the_loss_has_its_own_level_at_which_a_surrogate_is_turned():
    half = math.log(2)
    near = {"kind": "cross-entropy", "losses": ((half - 0.01,) * 2,) * 12}
    assert "It fell on surrogates" in told(FELL, **near)
    assert "did not fall" in told(FELL, **near | {"losses": ((half + 0.01,) * 2,) * 12})


def test_a_difference_of_one_victim_in_eight_is_no_reason():
    assert "batch norm" not in told(FELL, won=4, other=(5, 8, "batch"))
    assert "batch norm" in told(FELL, won=3, other=(3 + int(8 * APART), 8, "batch"))
    assert DRIVEN > 0
