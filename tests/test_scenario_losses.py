"""The attacker's loss against a loop."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from mpkit.scenario import adversarial_loss, make_scenario
from tests.conftest import noise
from tests.test_scenario import targeted


def draw_logits(*shape: int, seed: int, scale: float = 3.0, shift: float = 0.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(*shape, generator=g, dtype=torch.float64)


def loss_oracle(z: list[float], wanted: int, hide: bool, kind: str, kappa: float) -> float:
    """One target of one model, in plain numbers."""
    if kind == "margin":
        other = max(v for j, v in enumerate(z) if j != wanted)
        return max(z[wanted] - other if hide else other - z[wanted], -kappa)
    p = math.exp(z[wanted]) / sum(math.exp(v) for v in z)
    return -math.log(1 - p) if hide else -math.log(p)


@pytest.mark.parametrize("shift", [0.0, -20.0, 20.0])
@pytest.mark.parametrize("kappa", [0.0, 1.5, 100.0])
@pytest.mark.parametrize("kind", ["margin", "cross-entropy"])
@pytest.mark.parametrize("goal", ["targeted", "self-concealment"])
@pytest.mark.parametrize("targets", [1, 3])
def test_losses_against_a_loop(goal, kind, kappa, shift, targets):
    hide = goal == "self-concealment"
    scenario = targeted(
        goal=goal, poison_class=None if hide else "cat", target_index=list(range(targets))
    )
    logits = draw_logits(4, targets, 3, seed=targets, shift=shift)
    found = adversarial_loss(logits, scenario, kind, kappa)
    assert found.shape == (4,)
    for m in range(4):
        each = [
            loss_oracle(logits[m, t].tolist(), 0 if hide else 2, hide, kind, kappa)
            for t in range(targets)
        ]
        assert found[m].item() == pytest.approx(sum(each) / targets, rel=1e-9, abs=1e-9)


def test_other_classes_have_no_floor_of_zero():
    """The official code multiplies logits by a mask, which lets a 0 into the maximum."""
    scenario = targeted()
    logits = torch.tensor([[[-5.0, -2.0, -7.0]]])
    assert adversarial_loss(logits, scenario).item() == -3.0
    hidden = targeted(goal="self-concealment", poison_class=None)
    assert adversarial_loss(logits, hidden).item() == -3.0


def test_each_target_is_clamped_before_they_are_averaged():
    scenario = targeted(target_index=[0, 1])
    logits = torch.tensor([[[0.0, 9.0, 0.0], [4.0, 0.0, 0.0]]])
    assert adversarial_loss(logits, scenario, kappa=1.0).item() == pytest.approx((-1 + 4) / 2)
    assert adversarial_loss(logits, scenario).item() == pytest.approx((-9 + 4) / 2)


def test_each_target_has_its_own_adversarial_class():
    scenario = dataclasses.replace(targeted(target_index=[0, 1]), adversarial=torch.tensor([1, 2]))
    logits = draw_logits(5, 2, 3, seed=0)
    found = adversarial_loss(logits, scenario)
    for m in range(5):
        each = [loss_oracle(logits[m, t].tolist(), 1 + t, False, "margin", 100) for t in range(2)]
        assert found[m].item() == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_losses_of_any_leading_shape(shape):
    scenario = targeted(target_index=[0, 1])
    logits = draw_logits(*shape, 2, 3, seed=0)
    for kind in ("margin", "cross-entropy"):
        found = adversarial_loss(logits, scenario, kind)
        assert found.shape == shape
        one_by_one = [adversarial_loss(z, scenario, kind) for z in logits.reshape(-1, 2, 3)]
        assert torch.allclose(found.flatten(), torch.stack(one_by_one))


@pytest.mark.parametrize("kind", ["margin", "cross-entropy"])
def test_a_hidden_targets_loss_is_finite_where_the_model_is_certain(kind):
    """In float32 1 − p is 0 here: log(1 − p) would be infinite, its gradient not a number."""
    hidden = targeted(goal="self-concealment", poison_class=None)
    logits = torch.tensor([[[60.0, 0.0, 0.0]]], requires_grad=True)
    loss = adversarial_loss(logits, hidden, kind)
    assert loss.item() == pytest.approx(60 - (math.log(2) if kind == "cross-entropy" else 0))
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert slope.isfinite().all()
    assert slope[0, 0, 0].item() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["margin", "cross-entropy"])
@pytest.mark.parametrize("goal", ["targeted", "self-concealment"])
def test_gradients_of_the_losses(goal, kind):
    hide = goal == "self-concealment"
    scenario = targeted(goal=goal, poison_class=None if hide else "bee", target_index=[0, 1])
    logits = draw_logits(2, 2, 3, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: adversarial_loss(z, scenario, kind), logits)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="'hinge' is unknown; there are: margin, cross-entropy"):
        adversarial_loss(torch.zeros(1, 1, 3), targeted(), "hinge")


NOISE, MORE_NOISE = noise(30, 0), noise(15, 1)

NOISY = make_scenario(NOISE, MORE_NOISE, "a", "b")


def test_margin_against_a_loop_and_no_floor_of_zero():
    z = torch.tensor([[-3.0, -1.0, -2.0]])
    assert adversarial_loss(z[None], NOISY).item() == pytest.approx(-2.0 - -1.0)
    assert adversarial_loss(z[None], NOISY, kappa=0.5).item() == -0.5
    assert adversarial_loss(z[None], NOISY, "cross-entropy").item() == pytest.approx(
        -math.log(math.exp(-1) / (math.exp(-3) + math.exp(-1) + math.exp(-2)))
    )
    hide = make_scenario(NOISE, MORE_NOISE, "a", goal="self-concealment")
    p = math.exp(-3) / (math.exp(-3) + math.exp(-1) + math.exp(-2))
    assert adversarial_loss(z[None], hide, "cross-entropy").item() == pytest.approx(
        -math.log(1 - p), rel=1e-4
    )
    assert adversarial_loss(z[None], hide).item() == pytest.approx(-3.0 - -1.0)
    assert hide.succeeded(z[None]).item()
