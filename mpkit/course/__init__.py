"""What the notebooks share."""

from __future__ import annotations

from typing import TypeVar

import torch

from mpkit.course.exercises import check, hint, solution
from mpkit.device import describe, pick_device
from mpkit.scale import scale_name

__all__ = ["begin", "check", "hint", "sized", "solution"]

Size = TypeVar("Size")


def begin(seed: int = 0, **expected: str) -> None:
    """Print where a notebook runs, at which scale and seed, and how long it takes there.

    `expected` says the time at each scale, measured beforehand: ``begin(laptop="1 minute")``.
    """
    device = pick_device()
    name = scale_name(None, device.type == "cuda")
    print(f"Device: {describe(device)} ({device.type}), torch {torch.__version__}")
    print(f"Scale: {name}, seed: {seed}; takes about {expected.get(name, 'a minute')}.")


def sized(ci: Size, usual: Size) -> Size:
    """How big something is: `ci` at the smallest scale, and else as usual."""
    return ci if scale_name(None, pick_device().type == "cuda") == "ci" else usual
