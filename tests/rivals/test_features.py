"""Losses of features against slow ones, the simplex against a solver, and that it collides."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mpkit import make_attack, poisons_of, prepare
from mpkit.device import Plan
from mpkit.finetuning import features
from mpkit.metapoison import crafting
from mpkit.rivals import features as here
from mpkit.rivals.features import coefficients, rival_of, to_simplex
from mpkit.rivals.registry import RIVALS
from tests.blobs import SMALL, precise, setting, small_bn, small_net, start


def share(f: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The best c on the simplex by brute force: many small exchanges between two poisons."""
    c = torch.full((len(f),), 1 / len(f), dtype=f.dtype)
    for _ in range(400):
        for i in range(len(f)):
            for j in range(len(f)):
                way = f[i] - f[j]
                if i != j and way.norm() > 0:
                    step = (t - c @ f) @ way / (way @ way)
                    step = step.clamp(-c[i], c[j])
                    c[i] += step
                    c[j] -= step
    return c


def slowly(method: str, phi: torch.Tensor, aims: torch.Tensor) -> torch.Tensor:
    """A surrogate's loss in loops: features phi (P, width) of the poisons, aims (T, width)."""
    losses = []
    for t in aims:
        if method == "feature-collision":
            losses.append(sum(((p - t) ** 2).sum() for p in phi) / len(phi))
            continue
        even = torch.full((len(phi),), 1 / len(phi), dtype=phi.dtype)
        c = even if method == "bullseye" else share(phi.detach(), t)
        mean = sum(weight * p for weight, p in zip(c, phi, strict=True))
        losses.append(0.5 * ((t - mean) ** 2).sum() / (t**2).sum())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("net", [small_net, small_bn], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("method", ["feature-collision", "convex-polytope", "bullseye"])
def test_losses_and_gradients_are_those_of_the_formulas(method, net, monkeypatch):
    monkeypatch.setattr(here, "PART", 2)
    monkeypatch.setattr(here, "SOLVED", 2000)
    scenario, net = precise(setting(target_index=[0, 2])), net()
    s = dataclasses.replace(SMALL, method=method, models=2)
    state = start(scenario, net, s)
    poisons = scenario.base_images + state.parameters["delta"]
    for plan in (Plan(), Plan(2)):
        found, losses = RIVALS[method](net, scenario, state.surrogates, poisons, s, plan)
        for m in range(2):
            x = poisons.clone().requires_grad_()
            held = state.surrogates.pick(m)
            loss = slowly(method, features(net, held, x), features(net, held, scenario.targets))
            assert losses[m].item() == pytest.approx(loss.item(), rel=1e-6)
            (slope,) = torch.autograd.grad(loss, x)
            assert torch.allclose(found[m], slope, rtol=1e-3, atol=1e-7)


def test_a_collision_is_held_back_by_beta():
    scenario, net = precise(setting()), small_net()
    s = dataclasses.replace(SMALL, method="feature-collision")
    runs = {b: dataclasses.replace(s, beta=b) for b in (0.0, 3.0)}
    run = crafting(scenario, net, s)
    state = run.start(s)
    (free, _), (held, _) = (run.step(state, t) for t in runs.values())
    delta = state.parameters["delta"]
    off = held.pull.gradient - free.pull.gradient
    assert torch.allclose(off, 2 * 3.0 * delta / len(delta))
    losses = [run.step(state, t)[1].loss for t in runs.values()]
    each = [3.0 * float((d**2).sum()) for d in delta]
    assert losses[1] - losses[0] == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_the_nearest_point_of_the_simplex(size):
    """By its definition: what is left over is the same wherever an entry is above 0."""
    v = 3 * torch.randn(5, size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
    found = to_simplex(v)
    assert torch.allclose(found.sum(1), torch.ones(5, dtype=torch.float64))
    assert (found >= 0).all()
    for row, point in zip(v, found, strict=True):
        left = row - point
        most = left[point > 0]
        assert (most - most[0]).abs().max() < 1e-12
        assert (left <= most[0] + 1e-12).all()


def test_coefficients_reach_a_target_within_the_polytope():
    g = np.random.default_rng(0)
    f = torch.tensor(g.normal(size=(8, 20)))
    c = torch.tensor(g.dirichlet(np.ones(8), 3))
    assert torch.allclose(coefficients(f, c @ f), c, atol=1e-2)


def test_each_poison_of_a_rival_is_pulled_whatever_the_parts(monkeypatch):
    scenario, net = precise(setting()), small_net()
    state = start(scenario, net, dataclasses.replace(SMALL, method="bullseye"))
    rival = rival_of(here.bullseye)
    given = net, scenario, state.surrogates, scenario.base_images, SMALL, Plan()
    whole, _ = rival(*given)
    monkeypatch.setattr(here, "PART", 1)
    parted, _ = rival(*given)
    assert torch.allclose(whole, parted, atol=1e-12)


def test_it_does_collide_within_its_epsilon():
    """On drawn signs, from scratch: ‖φ(p) − φ(t)‖ falls tenfold for some base of a near target."""
    given = {"data": "signs", "fine_tune": "no", "target_class": "stop", "budget": 0.02}
    given |= {"poison_class": "speed 50", "target_index": 23, "models": 1, "epsilon": 20 / 255}
    ready = prepare(
        make_attack("laptop", method="feature-collision", **given, beta=0.0), progress=False
    )
    *_, (state, _) = ready.craft()
    poisons = poisons_of(ready.scenario, state, ready.attack.settings).float() / 255
    model, bases = state.surrogates.pick(0), ready.scenario.base_images
    assert (poisons - bases).abs().max() <= 20.01 / 255
    aim = features(ready.network, model, ready.scenario.targets)
    before, after = (
        (features(ready.network, model, x) - aim).norm(dim=1) for x in (bases, poisons)
    )
    assert (before / after).max() > 10
    assert (before / after).min() > 1.5
