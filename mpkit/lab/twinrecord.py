"""What `DynamicsLab` notes of both twins after every epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from mpkit.functional import Network, State
from mpkit.scenario import Scenario


@dataclasses.dataclass(frozen=True)
class TwinRecord:
    """One epoch of both twins, (clean, poisoned) each: mean training losses, validation
    accuracies, the target's probabilities of its true and of the wanted class, L_adv; and the ε
    that the poisoned twin trained with."""

    epoch: int
    losses: tuple[float, float]
    accuracies: tuple[float, float]
    true: tuple[float, float]
    wanted: tuple[float, float]
    adversarial: tuple[float, float]
    epsilon: float


@torch.no_grad()
def measure(
    scenario: Scenario, network: Network, adversarial: Callable[[State, Tensor], Tensor],
    state: State, epoch: int, losses: tuple[float, float], epsilon: float,
) -> TwinRecord:  # fmt: skip
    """Ask both twins of `state` (M = 2) about the target and other pictures (500 at most).

    `adversarial(state, x (2, B, C, H, W))` is the adversarial loss (2,); epsilon in 1/255.
    """
    logits = network(state, scenario.targets[:1].expand(2, 1, *scenario.train.shape), False)[0]
    p = logits[:, 0].softmax(-1)
    seen = scenario.validation.x[:500]
    predicted = network(state, seen.expand(2, *seen.shape), False)[0].argmax(-1)
    right = (predicted == scenario.validation.y[:500]).float().mean(1)
    batch = scenario.train.x[:50]
    return TwinRecord(
        epoch, tuple(losses), tuple(right.tolist()),
        tuple(p[:, scenario.target_labels[0]].tolist()),
        tuple(p[:, scenario.adversarial[0]].tolist()),
        tuple(adversarial(state, batch.expand(2, *batch.shape)).tolist()), epsilon / 255,
    )  # fmt: skip
