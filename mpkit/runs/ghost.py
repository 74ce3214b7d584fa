"""What the poisons' changes have in common: their mean, and how much it looks like the target.

Each δ alone looks like noise. Through an MLP their mean shows the target, as a ghost: all of them
push the same weights the same way. Through convolutions it hardly does.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from mpkit.scenario import Scenario


@dataclasses.dataclass(frozen=True)
class Changes:
    """δ = poison − base of P poisons, in grey levels of 255.

    `mean` (C, H, W) float64, over the poisons; `sizes` (P,) float64, each poison's mean |δ|;
    `largest` |δ| of any pixel of any poison.
    """

    mean: Tensor
    sizes: Tensor
    largest: int


def changes(scenario: Scenario, poisons: Tensor) -> Changes:
    """What uint8 `poisons` (P, C, H, W) change in the scenario's bases.

    One picture after the other, so that thousands of large ones need no copy of all.
    """
    mean, sizes, largest = np.zeros(poisons.shape[1:]), [], 0
    for row, poison in zip(scenario.bases.tolist(), poisons, strict=True):
        delta = change(scenario.train.x[row], poison)
        mean += delta
        sizes.append(abs(delta).mean())
        largest = max(largest, int(abs(delta).max()))
    mean /= len(poisons)
    return Changes(torch.from_numpy(mean), torch.tensor(sizes, dtype=torch.float64), largest)


def change(base: Tensor, poison: Tensor) -> np.ndarray:
    """δ of a uint8 `poison` from its `base` in [0, 1], both (C, H, W): int16 levels of 255."""
    levels = np.rint(255 * base.cpu().numpy()).astype(np.int16)
    return poison.cpu().numpy().astype(np.int16) - levels


def likeness(mean: Tensor, target: Tensor) -> float:
    """The cosine of a mean δ with a target, both (C, H, W): 1 is the same picture, 0 unrelated.

    ⟨δ, t⟩ / (‖δ‖ ‖t‖), where t is the target minus its own mean in each channel: else any change
    that makes pictures brighter would look like any bright target. 0 where δ or t vanishes.
    """
    delta, picture = mean.cpu().double(), target.cpu().double()
    seen = picture - picture.mean((1, 2), keepdim=True)
    lengths = delta.norm() * seen.norm()
    return float((delta * seen).sum() / lengths) if lengths > 1e-9 else 0.0


def spread(sizes: Tensor, count: int) -> list[int]:
    """Which of the poisons to show: `count` of them (all, if there are fewer), at equal distances
    in the order of `sizes` (P,), from the most changed to the least. Chosen by rank and not by
    looks; ties keep their order.
    """
    order = sizes.argsort(descending=True, stable=True)
    count = min(count, len(order))
    at = torch.linspace(0, len(order) - 1, count).round().long()
    return order[at].tolist()
