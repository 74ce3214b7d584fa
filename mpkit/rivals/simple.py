"""What needs no crafting: noise, a watermark, and labels that are simply wrong."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from mpkit.device import Plan, for_models
from mpkit.functional import State, own
from mpkit.perturbation import Parameters, Perturbation
from mpkit.rivals.passes import Gradients
from mpkit.scenario import Scenario, TargetLoss
from mpkit.settings import Settings
from mpkit.streams import generator


def noise(scenario: Scenario, way: Perturbation, s: Settings) -> Parameters:
    """Drawn evenly from all that the bounds allow: the pictures of the noise control."""
    bases = scenario.base_images
    drawn = way.random(bases.cpu(), s.epsilon, s.epsilon_c, generator(s.seed, "noise"))
    return {k: v.to(bases) for k, v in drawn.items()}


def watermark(scenario: Scenario, way: Perturbation, s: Settings) -> Parameters:
    """δ = opacity · (target − base), cut off at ±ε (Shafahi et al. 2018, section 3, which has no
    ε); of several targets each base gets one in turn."""
    bases, targets = scenario.base_images, scenario.targets
    theirs = targets[torch.arange(len(bases), device=bases.device) % len(targets)]
    delta = (s.opacity * (theirs - bases)).clamp(-s.epsilon, s.epsilon)
    return unchanged(scenario, way, s) | {"delta": delta}


def unchanged(scenario: Scenario, way: Perturbation, s: Settings) -> Parameters:
    """The bases as they are."""
    begun = way.init(scenario.base_images, s.epsilon, generator(0))
    return {k: torch.zeros_like(v) for k, v in begun.items()}


def asked(
    module: nn.Module, sight: Scenario, surrogates: State, poisons: Tensor, s: Settings, plan: Plan
) -> Gradients:
    """No gradient, and what clean models make of the target: their L_adv."""

    def work(models: slice, state: State) -> Tensor:
        aim = s.loss, s.kappa, sight.goal, sight.targets, sight.adversarial
        loss, ways = TargetLoss(own(module), *aim), range(models.stop - models.start)
        if len(ways) == 1:
            return loss(state, sight.train.x[:125])
        return torch.stack([loss(state.pick(m), sight.train.x[:125]) for m in ways])

    with torch.no_grad():
        losses = for_models(plan, surrogates.models, work, surrogates)
    return poisons.new_zeros(len(losses), *poisons.shape), losses


def flipped(scenario: Scenario) -> Scenario:
    """The scenario whose "bases" are as many pictures of the target's own class, the nearest to the
    target by pixels: they stay as they are, and get the adversarial label.

    Raises ValueError where that class has too few, and for a goal without an adversarial class.
    """
    if scenario.goal == "self-concealment":
        raise ValueError(
            "method label-flip gives pictures the adversarial label, and self-concealment names "
            "none: use goal targeted, or another method"
        )
    count, train = len(scenario.bases), scenario.train
    rows = torch.isin(train.y, scenario.target_labels).nonzero().flatten()
    if count > len(rows):
        raise ValueError(
            f"method label-flip flips {count} labels, and the target's class has only {len(rows)} "
            f"training pictures; use a budget of at most {len(rows) / len(train)}"
        )
    apart = torch.cdist(train.x[rows].flatten(1), scenario.targets.flatten(1)).amin(1)
    nearest = rows[apart.argsort(stable=True)[:count]]
    return dataclasses.replace(scenario, bases=nearest.sort().values, flips=True)


def as_method_has_it(scenario: Scenario, method: str) -> Scenario:
    """The scenario with the pictures that a method changes as its bases: see `flipped`."""
    return flipped(scenario) if method == "label-flip" else scenario
