"""The labs where a last layer, or all layers, are trained on weights that ship."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab import CollisionLab, CompareLab, CraftLab, DynamicsLab, VictimsLab
from mpkit.lab.kit.codes import attack_of
from tests.lab.conftest import SIGNS, finished, said


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
