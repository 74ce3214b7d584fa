"""An attacker who expects a defense (`Settings.against`): poisons are crafted as they will be seen.

A defender who changes pictures is met by crafting through the change; one who looks for pictures
that lie off their class in feature space, by keeping them near it (Carlini & Wagner 2017, and
Tramèr et al., NeurIPS 2020: a defense is worth what it is worth against those who know it).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import vjp

from mpkit.augmentation import augmented
from mpkit.device import Plan
from mpkit.functional import State
from mpkit.rivals.features import of_features
from mpkit.rivals.jpeg import jpeg
from mpkit.rivals.passes import Gradients
from mpkit.scenario import Scenario
from mpkit.settings import Settings
from mpkit.streams import generator

KNOWN = 125
"""Pictures of a class whose features say where it lies."""


def disguised(poisons: Tensor, s: Settings, step: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Poisons (P, C, H, W) as they are after the change that is expected, at random ones another at
    every craft step; and what takes a gradient of those back to them."""
    if s.expected == "augment":
        noise = generator(s.seed, "against", step)
        seen, back = vjp(lambda x: augmented(x, True, False, noise), poisons)
    elif s.expected == "jpeg":
        seen, back = vjp(lambda x: jpeg(x, s.against_quality), poisons)
    else:
        return poisons, lambda gradient: gradient
    return seen.detach(), lambda gradient: back(gradient)[0]


def kept_near(
    gradient: Tensor,
    module: nn.Module,
    sight: Scenario,
    surrogates: State,
    poisons: Tensor,
    s: Settings,
    *,
    plan: Plan,
) -> Tensor:
    """The attack's `gradient` (M, P, …) with a pull back of those poisons that lie farther from the
    mean of their class, in features, than its clean pictures do; `against_weight` times as long as
    the gradient."""
    back, _ = off_class(module, sight, surrogates, poisons, s, plan)
    length, own = (
        g.flatten(1).norm(dim=1).view(-1, *[1] * (g.dim() - 1)) for g in (gradient, back)
    )
    return gradient + s.against_weight * length / own.clamp(min=1e-12) * back


def off_class(
    module: nn.Module, sight: Scenario, surrogates: State, poisons: Tensor, s: Settings, plan: Plan
) -> Gradients:
    """By how much ‖φ(p) − μ‖² is more than what is usual in p's class, over ‖μ‖², the mean over
    poisons; μ: the mean of φ over `KNOWN` clean pictures of the class."""
    classes, mine = sight.train.y[sight.bases].unique(return_inverse=True)
    rows = [sight.train.rows_of(int(c))[:KNOWN] for c in classes]
    which = torch.cat([torch.full_like(r, i) for i, r in enumerate(rows)])
    share = torch.stack([(which == i) / len(r) for i, r in enumerate(rows)]).to(poisons)

    def loss(f: Tensor, clean: Tensor) -> Tensor:
        means = share @ clean
        usual = share @ (clean - means[which]).square().sum(1)
        off = (f - means[mine]).square().sum(1) - usual[mine]
        return (off.clamp(min=0) / means.square().sum(1)[mine].clamp(min=1e-12)).mean()

    pictures = sight.train.x[torch.cat(rows)]
    return of_features(loss, pictures, module, surrogates, poisons, s, plan=plan)
