"""Attacks by name: what they hold, where it is from, and what goes before it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpkit.data.datasets import _draw_splits
from mpkit.data.pictures import Pictures
from mpkit.networks import NETWORKS
from mpkit.runs import scenarios
from mpkit.runs.attack import make_attack, unlike
from mpkit.runs.saved import from_dict, to_dict

ALL = pytest.mark.parametrize("name", scenarios.names())
ASKED = {
    "quickstart", "dog-bird", "frog-plane", "self-concealment", "multi-class",
    "fine-tune-watermark", "deck-dog-bird", "deck-frog-plane",
}  # fmt: skip

SOURCES = ("paper", "code", "talk", "ours")


def test_those_that_people_ask_for_are_there():
    assert set(scenarios.names()) >= ASKED


@ALL
def test_every_one_is_an_attack_whose_settings_have_sources(name):
    attack = make_attack(scenario=name)
    assert attack.scenario == name
    assert {attack.network, attack.victim_network or attack.network} <= NETWORKS.keys()
    sources = scenarios.sources(name)
    assert sources.keys() == scenarios.values(name).keys()
    assert {source.split(":")[0].split(",")[0] for source in sources.values()} <= {*SOURCES}
    assert not unlike(attack, make_attack(scenario=name))


@ALL
def test_the_scale_does_not_count(name, monkeypatch):
    named = make_attack(scenario=name)
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    assert make_attack(scenario=name) == named
    with pytest.raises(ValueError, match=r"scale 'ci' beside a scenario.*leave it out"):
        make_attack("ci", scenario=name)


def test_the_quick_start_is_the_official_one():
    a = make_attack(scenario="quickstart")
    s, steps = a.settings, 5000 // 125
    assert (a.max_train, round(a.budget * a.max_train)) == (5000, 50)
    assert (a.target_class, a.poison_class, a.network) == ("bird", "dog", "convnet-bn")
    assert (s.models, s.unroll_steps, s.craft_steps) == (24, 2, 61)
    assert (255 * s.epsilon, s.epsilon_c, s.perturbation) == (8, 0.04, "both")
    assert round(255 * s.epsilon * s.rate_at(5), 6) == 200  # in pixel values of 0 to 255
    assert [round(s.rate_at(c) / 25, 6) for c in (0, 4, 20, 40)] == [0.04, 1, 0.1, 0.01]
    assert a.victim_recipe.epochs * steps == 8000
    assert (a.victims, a.batch_norm, s.surrogate_data) == (8, "batch", "clean")


def test_the_talks_targets_are_taken_by_their_margin():
    for name in ("deck-dog-bird", "deck-frog-plane"):
        attack = make_attack(scenario=name)
        assert (attack.budget, attack.victim_network) == (0.1, "resnet18")
        assert attack.target_index is None
        assert "does not name its two targets" in scenarios.about(name)["note"]


def test_what_is_said_beside_a_scenario_goes_before_it():
    a = make_attack(scenario="dog-bird", models=2, victim_epochs=3, epsilon=0.1, max_train=600)
    assert (a.settings.models, a.victim_recipe.epochs, a.settings.epsilon) == (2, 3, 0.1)
    assert a.settings.unroll_steps == 2
    named = make_attack(scenario="dog-bird")
    assert sorted(unlike(a, named)) == ["epsilon", "models", "victim_epochs"]
    assert "max_train" in unlike(named, a)


def test_another_method_has_its_own_steps():
    usual = make_attack(scenario="dog-bird", method="gradient-matching").settings
    assert (usual.restarts, usual.craft_steps, usual.signed) == (8, 2000, True)
    assert usual.epsilon == 8 / 255
    assert make_attack(scenario="dog-bird", method="metapoison").settings.craft_steps == 60
    assert make_attack(scenario="fine-tune-watermark").settings.craft_steps == 1


@pytest.mark.parametrize(
    "beside",
    [{"data": "pictures"}, {"max_test": 100}, {"n_test": 90}, {"classes": ("bird", "dog")}],
)
def test_of_other_test_pictures_the_first_is_the_target(beside):
    assert make_attack(scenario="dog-bird", **beside).target_index == (0,)
    assert make_attack(scenario="dog-bird", target_index=3, **beside).target_index == (3,)
    assert make_attack(scenario="deck-dog-bird", **beside).target_index is None


def test_the_paper_s_targets_have_other_numbers_here():
    names = ("airplane", "automobile", "bird")
    official = np.arange(2 * 10_000, dtype=np.uint16).reshape(10_000, 1, 1, 2).view(np.uint8)
    pixels = np.concatenate([np.zeros((50_000, 1, 1, 4), np.uint8), official])
    counts = (5000,) * 10, (1000,) * 10
    pictures = Pictures(pixels, (*names, *"cdefghi"), *counts)
    given = (None, None), (None, None), None, torch.Generator().manual_seed(0), "numbers"
    test = _draw_splits(pictures, *given).test
    for c, name in ((0, "airplane"), (2, "bird")):
        pixels = (255 * test.x[test.rows_of(c)[list(scenarios.first_ten(name))]]).round().int()
        place = (pixels[:, 0, 0, 0] + 256 * pixels[:, 0, 0, 1]) // 2
        assert place.tolist() == [1000 * c + i for i in range(10)]
    assert make_attack(scenario="dog-bird").target_index == scenarios.first_ten("bird")[:1]
    assert make_attack(scenario="frog-plane").target_index == scenarios.first_ten("airplane")[:1]


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ValueError, match="scenario 'cat-dog' is unknown; there are: quickstart, "):
        make_attack(scenario="cat-dog")


def test_a_run_keeps_the_name_and_the_settings_and_older_ones_have_none():
    attack = make_attack(scenario="frog-plane", models=3)
    assert from_dict(to_dict(attack)) == attack
    older = to_dict(make_attack("ci"))
    del older["scenario"]
    assert from_dict(older).scenario is None
