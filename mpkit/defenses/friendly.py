"""Friendly Noise: large noise that leaves answers as they are (Liu et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from mpkit.defenses.trainee import Trainee
from mpkit.finetuning import seen
from mpkit.functional import State, logits
from mpkit.setting import PIXEL
from mpkit.tracing import traced
from mpkit.training import generator

BEGINS = 1 / 8
"""Share of the epochs before noise is found: the paper's 5 of 40."""
STEPS = 10
WEIGHT = 0.1
"""λ, what the longest noise there can be is worth, in nats of an answer that changes."""


class Friendly(Trainee):
    """Learns for some epochs, then finds for each picture the largest noise that leaves its answer
    as it is, and learns on with that and with random noise of either sign added."""

    pictures = True
    found: Tensor | None = None  # (N, C, H, W) int8, in levels of 1/255: a quarter of the memory

    def prepare(self, epoch: int) -> None:
        if epoch == max(1, round(BEGINS * self.recipe.epochs)):
            drawn = generator(self.seed, "friendly")
            bound = self.defense.friendly_bound
            self.found = friendly_noise(self.module, self.state, self.x, bound, drawn)

    def taken(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        x = self.x[rows]
        if self.found is None:
            return x
        signs = 2 * torch.randint(2, x.shape, generator=noise).to(x) - 1
        x = x + self.found[rows].to(x) / PIXEL + self.defense.random_noise * signs
        return x.clamp(0, 1)


def friendly_noise(
    module: nn.Module, state: State, x: Tensor, bound: float, drawn: torch.Generator
) -> Tensor:
    """int8 (N, C, H, W), in levels of 1/255 of at most `bound`: for pictures x the noise n that
    makes KL(f(x + n) ‖ f(x)) − λ‖n‖ small, by signed steps that get shorter. (The published code
    steps along the slope itself, and there λ is of the mean square.)"""
    plain = "plain" if hasattr(module, "frozen") else "traced"  # frozen weights are no argument
    slope, parts = traced(friendly_slope, module, way=plain), []
    weight = x.new_tensor(WEIGHT / max(bound * x[0].numel() ** 0.5, 1e-12))
    for some in x.split(250):
        n = bound * (torch.rand(some.shape, generator=drawn).to(some) - 0.5)
        for i in range(STEPS):
            longest = bound * (STEPS - i) / STEPS / 3
            n = (n - longest * slope(state, some, n, weight).sign()).clamp(-bound, bound)
        parts.append((PIXEL * n).round().to(torch.int8))
    return torch.cat(parts)


def friendly_slope(
    module: nn.Module, state: State, x: Tensor, noise: Tensor, weight: Tensor
) -> Tensor:
    """The gradient of Σ KL(f(x + n) ‖ f(x)) − weight·‖n‖ with respect to the noise n, both
    (B, C, H, W); f at evaluation."""

    def says(x: Tensor) -> Tensor:
        return logits(module, state, seen(module, x.clamp(0, 1)), train=False)[0].log_softmax(1)

    def loss(noise: Tensor) -> Tensor:
        apart = F.kl_div(says(x), says(x + noise), reduction="sum", log_target=True)
        return apart - weight * (noise.flatten(1).square().sum(1) + 1e-12).sqrt().sum()

    return grad(loss)(noise)
