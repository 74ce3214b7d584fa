"""Small scenarios of random pictures, and poisons that are easily told."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from mpkit.data import Dataset
from mpkit.rates import rate
from mpkit.scenario import make_scenario


def scenario(channels=1, size=8, poisons=4, classes=("a", "b"), **how):
    """Random pictures, the first `poisons` of class b being bases."""
    draw = torch.Generator().manual_seed(channels)

    def dataset(n):
        x = torch.randint(0, 256, (n, channels, size, size), generator=draw).float() / 255
        return Dataset(x, torch.arange(n) % 2, classes, "random")

    poison = None if how.get("goal", "targeted") != "targeted" else classes[1]
    return make_scenario(dataset(40), dataset(12), classes[0], poison, budget=poisons / 40, **how)


def arms(won=1, n=2, which=("poisoned", "clean", "noise")) -> dict[str, dict]:
    """As `mpkit.tally.tallies` gives them."""
    counts = {arm: rate(won if arm == "poisoned" else 0, n) for arm in which}
    return {k: {"success": dataclasses.asdict(r), "accuracy": 0.9} for k, r in counts.items()}


def levels(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().to(torch.int64).numpy()


def changed(s, by: int) -> torch.Tensor:
    """Poisons: each base with its first half of rows brighter, its second darker; the later it
    comes, the more of its columns."""
    sign = torch.ones(s.base_images.shape[-2:], dtype=torch.int64)
    sign[len(sign) // 2 :] = -1
    found = torch.from_numpy(levels(s.base_images))
    for i, picture in enumerate(found):
        picture[..., : 1 + i % sign.shape[1]] += by * sign[:, : 1 + i % sign.shape[1]]
    return found.clamp(0, 255).to(torch.uint8)
