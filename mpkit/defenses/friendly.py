"""Friendly Noise: large noise that leaves answers as they are (Liu et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from mpkit.defenses.trainee import Trainee
from mpkit.finetuning import seen, sighted
from mpkit.functional import State, logits
from mpkit.setting import PIXEL
from mpkit.streams import generator
from mpkit.tracing import traced

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
    slope, parts = traced(divergence_slope, module), []
    weight = WEIGHT / max(bound * x[0].numel() ** 0.5, 1e-12)
    for some in x.split(250):
        n = bound * (torch.rand(some.shape, generator=drawn).to(some) - 0.5)
        with torch.no_grad():
            before = seen(module, some)
        for i in range(STEPS):
            found, pull = sighted(module, (some + n).clamp(0, 1))
            length = n.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None, None]
            down = weight * n / length - pull(slope(state, found, before))
            n = (n + bound * (STEPS - i) / STEPS / 3 * down.sign()).clamp(-bound, bound)
        parts.append((PIXEL * n).round().to(torch.int8))
    return torch.cat(parts)


def divergence_slope(module: nn.Module, state: State, x: Tensor, before: Tensor) -> Tensor:
    """The gradient of Σ KL(f(x) ‖ f(before)) with respect to x, both (B, …) as the network sees
    them; f at evaluation."""

    def says(x: Tensor) -> Tensor:
        return logits(module, state, x, train=False)[0].log_softmax(1)

    def loss(x: Tensor) -> Tensor:
        return F.kl_div(says(before), says(x), reduction="sum", log_target=True)

    return grad(loss)(x)
