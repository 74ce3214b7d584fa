"""Adversarial poisoning: the defender crafts poisons on the fly and learns not to mind them.

Geiping et al. 2021, "What Doesn't Kill You Makes You Robust(er)" (arXiv:2102.13624). Taken from it:
half of each batch are targets, the other half become poisons that are to turn them into the class
that is most frequent among the poisons; they are crafted by a few signed steps of gradient
matching; and the model learns from both halves, with their true labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from mpkit.defenses.trainee import Trainee
from mpkit.finetuning import sighted
from mpkit.functional import State, logits
from mpkit.tracing import traced


class Adversarial(Trainee):
    """Learns from batches half of which were just poisoned, by at most `adversarial_bound`."""

    pictures = True

    def batch(self, rows: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        x, y = super().batch(rows, noise)
        half = len(y) // 2
        if not half:
            return x, y
        targets, bases = x[:half], x[half:]
        adversarial = y[half:].mode().values.expand(half)
        bound, steps = self.defense.adversarial_bound, self.defense.adversarial_steps
        slope = traced(matching_slope, self.module)
        goal = self.seen(targets), adversarial
        start = bound * (2 * torch.rand(bases.shape, generator=noise).to(x) - 1)
        poisons = (bases + start).clamp(0, 1)
        for _ in range(steps):
            found, pull = sighted(self.module, poisons)
            moved = pull(slope(self.state, found, y[half:], *goal)).sign()
            delta = (poisons - 2 * bound / steps * moved - bases).clamp(-bound, bound)
            poisons = (bases + delta).clamp(0, 1)
        return torch.cat([targets, poisons]), y


def matching_slope(
    module: nn.Module,
    state: State,
    poisons: Tensor,
    y: Tensor,
    targets: Tensor,
    wanted: Tensor,
) -> Tensor:
    """The gradient with respect to poisons (P, …) of 1 − cos(∇CE(targets, wanted),
    ∇CE(poisons, y)), both by the weights that train, at evaluation; labels (T,) and (P,).
    Pictures are as the network sees them."""

    def slopes(x: Tensor, y: Tensor) -> Tensor:
        def loss(params):
            z, _ = logits(module, State(params, state.stats), x, train=False)
            return F.cross_entropy(z, y)

        return torch.cat([g.flatten() for g in grad(loss)(state.params).values()])

    aim = slopes(targets, wanted)
    return grad(lambda x: 1 - F.cosine_similarity(slopes(x, y), aim, 0))(poisons)
