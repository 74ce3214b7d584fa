"""Planted poisons: simple ones that anybody can make, and whose rows are known.

A filter that does not find these will not find others. Labels are wrong, so they are not
clean-label: a person who looks at each picture finds them as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mpkit.data import Dataset
from mpkit.streams import generator


class Planted(NamedTuple):
    """A training set with poisons in it, and their rows (P,)."""

    data: Dataset
    rows: Tensor


def flipped(data: Dataset, share: float, seed: int) -> Planted:
    """A `share` of all pictures, at random, with another label, at random."""
    draw = generator(seed, "planted")
    rows, y = torch.randperm(len(data), generator=draw)[: round(share * len(data))], data.y.clone()
    shift = torch.randint(1, len(data.classes), (len(rows),), generator=draw)
    y[rows] = (y[rows] + shift.to(y)) % len(data.classes)
    return Planted(dataclasses.replace(data, y=y), rows)


def stamped(x: Tensor) -> Tensor:
    """Pictures x (N, C, H, W) with a chequered patch in a corner, a quarter of the side wide."""
    x, side = x.clone(), x.shape[-1] // 4
    cells = torch.arange(side) // 2
    x[..., -side:, -side:] = ((cells + cells[:, None]) % 2).to(x)
    return x


def patched(data: Dataset, share: float, seed: int) -> Planted:
    """A `share` of all pictures, at random from the classes but one, `stamped` and with that one's
    label: models learn to give it to whatever is stamped (Gu et al. 2017, "BadNets")."""
    draw = generator(seed, "planted")
    label = int(torch.randint(len(data.classes), (), generator=draw))
    others = (data.y != label).nonzero().flatten()
    rows = others[torch.randperm(len(others), generator=draw)[: round(share * len(data))]]
    x, y = data.x.clone(), data.y.clone()
    x[rows], y[rows] = stamped(x[rows]), label
    return Planted(dataclasses.replace(data, x=x, y=y), rows)


PLANTS: dict[str, Callable[[Dataset, float, int], Planted]] = {
    "flipped": flipped,
    "patched": patched,
}
"""Kinds of planted poisons by name."""
