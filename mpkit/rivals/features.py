"""Collisions in feature space: φ is the penultimate layer of networks that stay as they are.

Feature collision (Shafahi et al., "Poison Frogs!", NeurIPS 2018, eq. 1), of each poison p with base
b:  ‖φ(p) − φ(t)‖² + β‖p − b‖²;  convex polytope (Zhu et al., ICML 2019, eq. 2):
½‖φ(t) − Σ cᵢφ(pᵢ)‖²/‖φ(t)‖² with the best c on the simplex;  bullseye polytope (Aghakhani et al.,
EuroS&P 2021, eq. 3): the same with all cᵢ equal. Over several networks, and targets, the mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vjp, vmap

from mpkit.device import Plan, for_models
from mpkit.finetuning import features_of_seen
from mpkit.functional import State
from mpkit.rivals.passes import PART, Gradients, Rival, mapped
from mpkit.scenario import Scenario
from mpkit.settings import Settings
from mpkit.tracing import settled, traced

SOLVED = 100
"""Steps to the best c."""


def collision(f: Tensor, aim: Tensor) -> Tensor:
    """mean ‖φ(p) − φ(t)‖² over poisons and targets; f (P, width), aim (T, width)."""
    return torch.cdist(f, aim).square().mean()


def bullseye(f: Tensor, aim: Tensor) -> Tensor:
    """½‖φ(t) − mean φ(p)‖²/‖φ(t)‖²."""
    return _off(f.mean(0), aim)


def polytope(f: Tensor, aim: Tensor) -> Tensor:
    """½‖φ(t) − Σ cᵢφ(pᵢ)‖²/‖φ(t)‖² for the best c, which is a constant to the gradient."""
    c = coefficients(f.detach(), aim)
    return _off(c @ f, aim)


def _off(mean: Tensor, aim: Tensor) -> Tensor:
    return 0.5 * ((aim - mean).square().sum(1) / aim.square().sum(1).clamp(min=1e-12)).mean()


def coefficients(f: Tensor, aim: Tensor) -> Tensor:
    """(T, P): of each target the point of the simplex that is nearest, argmin ‖aim − c·f‖², by
    accelerated projected gradients (Beck & Teboulle 2009) from equal shares."""
    gram, toward = f @ f.T, aim @ f.T
    rate = 1 / gram.abs().sum(1).amax().clamp(min=1e-12)  # no eigenvalue is larger
    c = ahead = torch.full_like(toward, 1 / len(f))
    t = 1.0
    for _ in range(SOLVED):
        new = to_simplex(ahead - rate * (ahead @ gram - toward))
        after = (1 + (1 + 4 * t * t) ** 0.5) / 2
        ahead, c, t = new + (t - 1) / after * (new - c), new, after
    return c


def to_simplex(v: Tensor) -> Tensor:
    """The nearest point, of each row (…, P), with no negative entry and sum 1 (Duchi et al., ICML
    2008, figure 1)."""
    down = v.sort(-1, descending=True).values
    counts = torch.arange(1, v.shape[-1] + 1, device=v.device, dtype=v.dtype)
    over = (down.cumsum(-1) - 1) / counts
    held = (down > over).sum(-1, keepdim=True)  # at least 1
    return (v - over.gather(-1, held - 1)).clamp(min=0)


def pulled(module: nn.Module, state: State, x: Tensor, toward: Tensor) -> Tensor:
    """What takes a gradient `toward` (P, width) of features back to x."""
    return vjp(lambda x: features_of_seen(module, state, x), x)[1](toward)[0]


def of_features(
    loss: Callable[[Tensor, Tensor], Tensor],
    pictures: Tensor,
    module: nn.Module,
    surrogates: State,
    poisons: Tensor,
    s: Settings,
    *,
    plan: Plan,
) -> Gradients:
    """Of a loss of the features of poisons (P, …) and of `pictures` (N, …), both as surrogates see
    them."""

    def work(models: slice, state: State):
        many = models.stop - models.start > 1
        look = traced(features_of_seen, module, in_dims=mapped(many, 0, None), way=s.compute)
        back = traced(pulled, module, in_dims=mapped(many, 0, None, 0), way=s.compute)
        f, aim = (
            torch.cat([look(state, x) for x in p.split(PART)], -2) for p in (poisons, pictures)
        )
        ask = grad_and_value(loss)
        toward, value = (vmap(ask) if many else ask)(*settled((f, aim)))
        pairs = zip(poisons.split(PART), toward.split(PART, -2), strict=True)
        return torch.cat([back(state, *pair) for pair in pairs], 1 if many else 0), value

    return settled(for_models(plan, surrogates.models, work, surrogates))


def rival_of(loss: Callable[[Tensor, Tensor], Tensor]) -> Rival:
    """The rival that lowers a loss of the features of poisons and targets."""

    def rival(
        module: nn.Module,
        sight: Scenario,
        surrogates: State,
        poisons: Tensor,
        s: Settings,
        plan: Plan,
    ) -> Gradients:
        return of_features(loss, sight.targets, module, surrogates, poisons, s, plan=plan)

    return rival


def held_back(
    gradient: Tensor, losses: Tensor, delta: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """With β‖p − b‖², the mean over poisons, of δ (P, C, H, W): in pixels, whatever φ sees."""
    value = beta * delta.square().sum() / len(delta)
    return gradient + 2 * beta * delta / len(delta), losses + value
