"""What does nothing is told of, wherever a person gives it; a command refuses it (tests/cli)."""

from __future__ import annotations

import warnings

import pytest

from mpkit import make_attack
from mpkit.lab import CraftLab
from mpkit.runs.idle import ALL, idle

GIVEN = [
    ({"data": "signs", "size": 16}, "size does nothing with data='signs', only with digits"),
    ({"data": "fashion", "noise": 0.1}, "noise does nothing with data='fashion', only with"),
    ({"perturbation": "recolor", "epsilon": 8 / 255}, "epsilon does nothing with perturbation="),
    ({"method": "label-flip", "epsilon": 8 / 255}, "epsilon does nothing with method='label-flip'"),
    ({"defense": "none", "suspected": 0.2}, "suspected does nothing with defense='none'"),
    ({"n_train": 60, "max_train": 90}, "max_train does nothing beside n_train"),
    ({"fine_tune": "no", "weights": "cifar10-small"}, r"from scratch \(fine_tune='no'\)"),
]


@pytest.mark.parametrize(("given", "words"), GIVEN)
def test_an_argument_that_does_nothing_is_told_of(given, words):
    with pytest.warns(UserWarning, match=words):
        make_attack("ci", **given)


def test_what_acts_and_what_is_not_given_is_not_told_of(recwarn):
    make_attack("ci", data="digits", size=8, noise=0.1, epsilon=8 / 255, kappa=3.0)
    make_attack("ci", data="signs", size=None)
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]


def test_a_lab_tells_of_it_too(monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    with pytest.warns(UserWarning, match="size does nothing with data='signs'"):
        CraftLab(data="signs", size=16).close()


def test_of_all_settings_at_once_only_those_without_an_effect_are_found():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attack = make_attack("ci", data="digits")
    found = idle(attack, ALL, lambda name, value=None: name)
    assert {"difficulty", "epsilon_c", "weights"} <= set(found)
    assert not {"data", "size", "noise", "epsilon", "kappa", "seed"} & set(found)
