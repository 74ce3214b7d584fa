"""How a model is trained, as one value."""

from __future__ import annotations

import dataclasses

import pytest

from mpkit.recipe import Recipe


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"batch": 0}, {"lr": 0}, {"momentum": 1.0}])
def test_recipes_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Recipe(**bad)


def test_the_rate_rises_linearly_and_falls_tenfold_at_each_decay():
    recipe = Recipe(epochs=9, lr=0.2, warmup=4, decays=(5, 7))
    expected = [0.05, 0.1, 0.15, 0.2, 0.2, 0.02, 0.02, 0.002, 0.002]
    assert [recipe.lr_at(epoch) for epoch in range(9)] == pytest.approx(expected)


def test_without_a_schedule_the_rate_stays():
    assert {Recipe(lr=0.3).lr_at(epoch) for epoch in range(100)} == {0.3}


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"epochs": 3, "batch": 7, "lr": 0.5, "warmup": 2, "decays": (1,)}, True),
        ({"weight_decay": 1e-4}, False),
        ({"momentum": 0.9}, False),
        ({"augment": True}, False),
        ({"flip": True}, False),
    ],
    ids=str,
)
def test_a_step_is_plain_where_nothing_is_added_to_it(change, plain):
    assert dataclasses.replace(Recipe(), **change).plain is plain
