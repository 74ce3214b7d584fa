"""What `DynamicsLab` notes of both twins after every epoch."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np
import torch

from mpkit.evaluation.rates import percent
from mpkit.evaluation.victims import predict
from mpkit.finetuning import seen
from mpkit.functional import State, own
from mpkit.lab.wish import wish_of
from mpkit.metapoison import target_loss
from mpkit.runs.prepared import Prepared


@dataclasses.dataclass(frozen=True)
class TwinRecord:
    """One epoch of both twins, (clean, poisoned) each: mean training losses, validation
    accuracies, the target's probabilities of its true class and of what is wanted, L_adv; and
    the ε that the poisoned twin trained with. Of a twin that diverged they are NaN."""

    epoch: int
    losses: tuple[float, float]
    accuracies: tuple[float, float]
    true: tuple[float, float]
    adversarial: tuple[float, float]
    adversarial_loss: tuple[float, float]
    epsilon: float

    @property
    def diverged(self) -> tuple[bool, bool]:
        """Which of the twins has logits that are no numbers."""
        return tuple(
            map(math.isnan, (p + a for p, a in zip(self.true, self.accuracies, strict=True)))
        )

    def words(self, true: str, wanted: str) -> str:
        """How both twins are, the target's class being `true`."""
        twins = []
        for i, name in enumerate(("clean", "poisoned")):
            said = (
                f"has accuracy {percent(self.accuracies[i])} and gives the target {true} "
                f"{percent(self.true[i], 0)}, {wanted} {percent(self.adversarial[i], 0)}"
            )
            twins.append(f"the {name} twin {'has diverged' if self.diverged[i] else said}")
        return "; ".join(twins)


class Moment(NamedTuple):
    """An epoch to be shown again: how many records there were, and where all is in the poisoned
    twin's features (N, 2)."""

    count: int
    places: np.ndarray | None


@torch.no_grad()
def measure(ready: Prepared, state: State, epoch: int, losses: tuple, epsilon: float) -> TwinRecord:
    """Ask both twins of `state` (M = 2) about the target and other pictures (500 at most).

    `losses` (2,) are their mean training losses; epsilon in [0, 1] pixels.
    """
    scenario, network = ready.scenario, ready.network
    said = predict(network, state, scenario.targets[:1], scenario.train.x)
    p = said[:, 0].softmax(-1)
    logits = predict(network, state, scenario.validation.x[:500])
    right = (logits.argmax(-1) == scenario.validation.y[:500]).float().mean(1)
    right[~logits.isfinite().all(-1).all(-1)] = torch.nan  # argmax would call it class 0
    loss = target_loss(scenario, own(network), ready.attack.settings)
    batch = seen(network, scenario.train.x[:50])
    return TwinRecord(
        epoch=epoch,
        losses=tuple(losses),
        accuracies=tuple(right.tolist()),
        true=tuple(p[:, scenario.target_labels[0]].tolist()),
        adversarial=tuple(wish_of(scenario).of(p).tolist()),
        adversarial_loss=tuple(float(loss(state.pick(twin), batch)) for twin in range(2)),
        epsilon=epsilon,
    )
