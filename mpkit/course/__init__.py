"""What the notebooks share."""

from __future__ import annotations

from typing import TypeVar

import torch

from mpkit.course import progress
from mpkit.course.exercises import EXERCISES, check, hint, solution
from mpkit.device import describe, make_reproducible, pick_device
from mpkit.runs.scale import scale_name

__all__ = ["begin", "check", "hint", "sized", "solution"]

Size = TypeVar("Size")


def begin(chapter: str | None = None, seed: int = 0, **expected: str) -> None:
    """Print where a notebook runs, at which scale and seed, how long it takes there, and which of
    the chapter's exercises have been solved before.

    `expected` says the time at each scale, measured beforehand on two cores: ``begin("00",
    laptop="1 minute")``.
    """
    device = pick_device()
    make_reproducible(device)
    name = scale_name(None, device.type == "cuda")
    print(f"Device: {describe(device)} ({device.type}), torch {torch.__version__}")
    time = f"takes about {expected[name]}" if name in expected else "its time was not measured"
    print(f"Scale: {name}, seed: {seed}; {time}.")
    if chapter is not None:
        tasks = [task for task in EXERCISES if task.startswith(f"{chapter}.")]
        print(progress.report(chapter, [*tasks, f"{chapter}.quiz"]))


def sized(ci: Size, usual: Size) -> Size:
    """How big something is: `ci` at the smallest scale, and else as usual."""
    return ci if scale_name(None, pick_device().type == "cuda") == "ci" else usual
