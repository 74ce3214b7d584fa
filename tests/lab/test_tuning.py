"""The labs where a last layer, or all layers, are trained on weights that ship."""

from __future__ import annotations

import pytest
import torch

from mpkit.evaluation.records import ARMS
from mpkit.lab import CollisionLab, CompareLab, CraftLab, DynamicsLab, VictimsLab
from mpkit.lab.kit.codes import attack_of
from mpkit.runs.attack import make_attack
from mpkit.runs.scale import BY_METHOD
from mpkit.settings import METHODS, STILL
from tests.lab.conftest import SIGNS, finished, said, small_attack

pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.mark.parametrize("kind", [CraftLab, VictimsLab, DynamicsLab, CollisionLab, CompareLab])
@pytest.mark.parametrize("fine_tune", ["last", "all"])
def test_every_lab_runs_to_its_end(kind, fine_tune, small, until):
    own = {"pairs": 1, "variants": {"K = 1": {"unroll_steps": 1}}} if kind is CompareLab else {}
    lab = small(kind, **SIGNS | own | {"fine_tune": fine_tune})
    finished(lab, until)
    assert "nan" not in lab.describe()
    lab.transport.buttons["reset"].click()


def test_from_scratch_is_one_choice_away_and_brings_its_settings(small, until):
    lab = small(CraftLab, **SIGNS, fine_tune="last")
    tuned = lab.knobs()
    lab.controls["fine_tune"].menu.value = "no"
    assert lab.attack.fine_tune == "no"
    assert lab.controls["network"].value == lab.attack.network == "mlp"
    assert lab.knobs().epsilon > tuned.epsilon
    lab.controls["fine_tune"].menu.value = "last"
    assert lab.controls["network"].value == lab.attack.network == "convnet-small"
    assert lab.attack.target_class == "stop"


def test_a_network_without_weights_is_trained_from_scratch(small, until):
    lab = small(CraftLab, **SIGNS, fine_tune="last")
    lab.controls["network"].menu.value = "convnet"
    assert (lab.attack.network, lab.attack.fine_tune) == ("convnet", "no")
    assert lab.controls["fine_tune"].value == "no"
    attack, _ = attack_of("craft", lab.code())
    assert (attack.network, attack.fine_tune) == ("convnet", "no")


def test_while_it_runs_the_last_word_counts(small, until):
    lab = small(CraftLab, **SIGNS, fine_tune="last")
    finished(lab, until)
    lab.controls["network"].menu.value = "mlp"
    lab.controls["fine_tune"].menu.value = "all"
    assert lab.attack.fine_tune == "last"  # not before a reset
    lab.transport.buttons["reset"].click()
    assert (lab.attack.network, lab.attack.fine_tune) == ("convnet-small", "all")


def test_victims_may_train_otherwise_than_surrogates(small, until):
    lab = small(VictimsLab, **SIGNS, fine_tune="last")
    lab.controls["fine_tune"].menu.value = "all"
    assert lab.attack.tuning_of_victims == "all"
    lab.controls["network"].menu.value = "mlp"
    assert lab.attack.tuning_of_victims == "no"
    assert lab.controls["fine_tune"].value == "no"
    lab.controls["fine_tune"].menu.value = "last"
    assert lab.attack.victim_network == "convnet-small"
    assert lab.controls["network"].value == "convnet-small"
    finished(lab, until)


def test_what_a_last_layer_cannot_do_is_said_and_changes_nothing(small):
    lab = small(VictimsLab, **SIGNS, fine_tune="last")
    lab.controls["augment"].menu.value = True
    assert lab.controls["augment"].value is False
    assert "computed once" in said(lab)
    assert not lab.attack.victim_recipe.augment


def test_the_plane_of_a_last_layer_is_that_of_its_own_weights(small, until):
    lab = small(DynamicsLab, **SIGNS, fine_tune="last")
    finished(lab, until)
    assert lab.state.params.keys() == {"head.weight", "head.bias"}
    assert torch.isfinite(torch.tensor(lab.records[-1].adversarial)).all()


# ── the method ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", [m for m in METHODS if m != "metapoison"])
def test_every_method_of_the_menu_runs_to_its_end(method, small, until):
    lab = small(CraftLab, epsilon=20 / 255)
    lab.controls["method"].menu.value = method
    assert lab.knobs().method == lab.attack.settings.method == method
    assert lab.knobs().epsilon == 20 / 255  # what has nothing to do with it stays
    finished(lab, until)
    assert METHODS[method] in lab.describe()
    assert "K = " not in lab.describe()
    assert lab.controls["unroll_steps"].slider.disabled
    assert lab.controls["craft_steps"].slider.disabled == (method in STILL)
    assert lab.controls["opacity"].slider.disabled == (method != "watermark")
    attack, _ = attack_of("craft", lab.code())
    assert attack.settings.method == method
    lab.controls["method"].menu.value = "metapoison"
    lab.transport.buttons["reset"].click()
    assert "K = " in lab.describe()
    assert not lab.controls["unroll_steps"].slider.disabled


def test_a_method_brings_its_steps_and_only_those(small, until, monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "laptop")
    lab = small(CraftLab, seed=7)
    lab.controls["method"].menu.value = "gradient-matching"
    usual = make_attack(data="digits", method="gradient-matching").settings
    assert lab.knobs().seed == 7
    for name in BY_METHOD:
        assert getattr(lab.knobs(), name) == getattr(usual, name)
    assert lab.controls["craft_steps"].value == usual.craft_steps
    assert lab.knobs().recipe == lab.attack.settings.recipe == small_attack().settings.recipe
    lab.controls["method"].menu.value = "metapoison"
    assert not lab.knobs().signed


def test_flipped_pictures_are_shown_and_their_victims_trained_on_them(small, until):
    lab = small(CraftLab, method="label-flip")
    true = lab.scenario.target_labels[0]
    assert (lab.scenario.train.y[lab.scenario.bases] == true).all()
    finished(lab, until)
    assert torch.equal(lab.poisons().float() / 255, lab.ready.scenario.base_images)
    assert torch.equal(lab.ready.scenario.bases, lab.scenario.bases)
    assert (lab.ready.scenario.poisoned_labels[lab.scenario.bases] != true).all()
    victims = small(VictimsLab, method="label-flip", n_train=100, budget=0.3, victim_epochs=12)
    finished(victims, until)
    told = {arm: [r.true_probability[0] for r in victims.records if r.arm == arm] for arm in ARMS}
    means = {arm: sum(values) / len(values) for arm, values in told.items()}
    assert means["poisoned"] < means["clean"]


def test_what_a_method_cannot_do_is_said_in_the_panel(small):
    lab = small(CraftLab, perturbation="recolor")
    lab.controls["method"].menu.value = "watermark"
    assert "only recolours them" in said(lab)
    assert lab.knobs().method == "metapoison"
