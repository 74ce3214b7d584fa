"""Gradient matching against a slow one in plain PyTorch."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from mpkit.device import Plan
from mpkit.metapoison import craft, crafting
from mpkit.rivals import passes
from mpkit.rivals.matching import matching
from mpkit.settings import Settings
from mpkit.training import train
from tests.blobs import GOALS, SMALL, precise, setting, small_bn, small_net, start

MATCHING: Settings = dataclasses.replace(SMALL, method="gradient-matching")


def slowly(scenario, net, state, model: int, poisons: torch.Tensor) -> torch.Tensor:
    """1 − cos of one surrogate, a differentiable function of the poisons, one row at a time."""
    held = state.pick(model)
    weights = {k: w.clone().requires_grad_() for k, w in held.params.items()}

    def gradient(losses):
        found = torch.autograd.grad(sum(losses), list(weights.values()), create_graph=True)
        return torch.cat([g.flatten() for g in found])

    def said(x):
        return functional_call(net.eval(), ({**weights}, held.stats), (x[None],))[0]

    y, hide = scenario.train.y[scenario.bases], scenario.goal == "self-concealment"
    mine = gradient([F.cross_entropy(said(p), c) for p, c in zip(poisons, y, strict=True)])
    losses = []
    for t, c in zip(scenario.targets, scenario.adversarial, strict=True):
        p = said(t).softmax(0)[c]
        losses.append(-torch.log(1 - p if hide else p))
    theirs = gradient(losses)
    return 1 - (mine @ theirs) / (mine.norm() * theirs.norm())


@pytest.mark.parametrize("net", [small_net, small_bn], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("given", GOALS.values(), ids=GOALS)
def test_loss_and_gradient_are_those_of_one_minus_cosine(given, net, monkeypatch):
    monkeypatch.setattr(passes, "PART", 2)  # parts of poisons add up to the whole
    scenario, net = precise(setting(**given)), net()
    state = start(scenario, net, MATCHING)
    poisons = scenario.base_images + state.parameters["delta"]
    surrogates = state.surrogates
    for plan in (Plan(), Plan(3)):
        found, losses = matching(net, scenario, surrogates, poisons, MATCHING, plan)
        for m in range(3):
            x = poisons.clone().requires_grad_()
            loss = slowly(scenario, net, surrogates, m, x)
            assert losses[m].item() == pytest.approx(loss.item(), abs=1e-9)
            (slope,) = torch.autograd.grad(loss, x)
            assert torch.allclose(found[m], slope, rtol=1e-6, atol=1e-12)


def test_crafting_lowers_the_loss():
    settings = dataclasses.replace(MATCHING, craft_steps=40, craft_rate=0.05, signed=True)
    records = [r for _, r in craft(setting(3, 48, budget=0.25), small_net(3), settings)]
    assert records[-1].loss < records[0].loss - 0.1
    assert {r.ages for r in records} == {(4, 4, 4)}


def test_surrogates_are_trained_to_the_end_on_clean_data_and_stay_as_they_are():
    scenario, net = setting(), small_net()
    run = crafting(scenario, net, MATCHING)
    state = run.start(MATCHING)
    after, _ = run.step(state, MATCHING)
    for k, w in state.surrogates.params.items():
        assert torch.equal(after.surrogates.params[k], w)
        seeds, recipe = run.ensemble.seeds(0), MATCHING.recipe
    *_, (trained, _) = train(net, scenario.train.x, scenario.train.y, recipe, seeds)
    for k, w in trained.params.items():
        assert torch.allclose(state.surrogates.params[k], w, atol=1e-6)


@pytest.mark.parametrize(("steps", "restarts"), [(6, 2), (7, 3), (2, 5), (1, 2)])
def test_of_several_restarts_the_lowest_loss_is_kept(steps, restarts):
    settings = dataclasses.replace(MATCHING, craft_steps=steps, restarts=restarts, signed=True)
    scenario, net = setting(), small_net()
    pairs = list(craft(scenario, net, settings))
    each = max(1, steps // restarts)
    ends = [each * (r + 1) for r in range(min(restarts, steps) - 1)] + [steps]
    losses = [pairs[end - 1][1].loss for end in ends]
    state = pairs[-1][0]
    best = min(losses)
    assert state.kept["loss"].item() == pytest.approx(best)
    # The best's end is what the run gives, and a restart begins with a δ of its own.
    if ends[losses.index(best)] < steps:
        expected = pairs[ends[losses.index(best)] - 1][0].parameters["delta"]
        assert torch.equal(state.parameters["delta"], expected)
    if steps == 6:
        one, two = (pairs[i][0].parameters["delta"] for i in (0, 3))
        assert (one - two).abs().mean() > 0.3 * settings.epsilon
    for state, _ in pairs[:-1]:
        *_, (resumed, _) = craft(scenario, net, settings, state)
        assert torch.equal(resumed.parameters["delta"], pairs[-1][0].parameters["delta"])
        assert torch.equal(resumed.kept["loss"], pairs[-1][0].kept["loss"])
