"""How poisons grew: some of them, at some craft steps, for those who look at a run afterwards.

A run needs none of it to go on, and does not read it for its numbers.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from mpkit.data import files
from mpkit.data.tensors import pack, unpack
from mpkit.runs.record import ROOM, RecordError, must_be_sealed
from mpkit.scenario import Scenario

NAME = "frames.safetensors"
SHOWN = 8
"""Poisons that are kept of each step: what stands side by side."""
MOST = 4 << 20
"""Bytes that the file may have; rather than to grow further it keeps every second step."""


@dataclasses.dataclass(frozen=True)
class Frames:
    """At each of F craft `steps`, ascending: uint8 `pictures` (F, S, C, H, W) of the poisons number
    `which` (S), and the `mean` change (F, C, H, W) of all poisons, float16 levels of 255."""

    steps: tuple[int, ...]
    which: tuple[int, ...]
    pictures: Tensor
    mean: Tensor


class FrameKeeper:
    """Keeps frames of a run, few enough for `most` bytes."""

    def __init__(self, scenario: Scenario, most: int = MOST):
        count = min(SHOWN, len(scenario.bases))
        self.bases = (255 * scenario.base_images.cpu()).round()
        self.which = torch.linspace(0, len(self.bases) - 1, count).round().long()
        size = self.bases[0].numel() * (count + 2)
        self.room, self.every = max(2, most // size), 1
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def wants(self, step: int, last: bool = False) -> bool:
        """Whether this step is one of those that are kept; the first and the `last` one are."""
        return last or step % self.every == 1 % self.every

    def add(self, step: int, poisons: Tensor) -> None:
        """Keep uint8 poisons (P, C, H, W) of a step."""
        poisons = poisons.cpu()
        mean = (poisons.float() - self.bases).mean(0)
        self.kept[step] = poisons[self.which].clone(), mean.half()
        while len(self.kept) > self.room:
            self.every *= 2
            first, last = min(self.kept), max(self.kept)
            thin = lambda s: s in (first, last) or self.wants(s)  # noqa: B023, E731
            self.kept = {s: kept for s, kept in self.kept.items() if thin(s)}

    def frames(self) -> Frames | None:
        """What is kept; None for nothing."""
        if not self.kept:
            return None
        steps = sorted(self.kept)
        pictures, mean = (torch.stack([self.kept[s][i] for s in steps]) for i in (0, 1))
        return Frames(tuple(steps), tuple(self.which.tolist()), pictures, mean)

    def go_on(self, folder: Path, done: int) -> None:
        """Take over what a run that is resumed after step `done` has kept, if it can be read."""
        try:
            found = load_frames(folder)
        except RecordError:
            return
        mine = tuple(self.which.tolist()), self.bases.shape[1:]
        if found and (found.which, found.mean.shape[1:]) == mine:
            parts = zip(found.steps, found.pictures, found.mean, strict=True)
            self.kept = {s: (p, m) for s, p, m in parts if s <= done}
            apart = sorted(self.kept)[:2]
            self.every = max(1, apart[-1] - apart[0]) if apart else 1


def save_frames(folder: Path, frames: Frames | None) -> None:
    """Write the file; nothing for None."""
    if frames is not None:
        tensors = {k: torch.tensor(getattr(frames, k)) for k in ("steps", "which")}
        tensors |= {k: getattr(frames, k).contiguous() for k in ("pictures", "mean")}
        files.write(folder / NAME, pack(tensors, {}))


def load_frames(folder: Path) -> Frames | None:
    """What `save_frames` wrote, None where there is nothing, as in runs of an earlier mpkit. Raises
    RecordError for a file that is damaged."""
    from safetensors import SafetensorError

    path = folder / NAME
    try:
        tensors, _ = unpack(path, 2 * MOST + ROOM, must_be_sealed(folder))
        steps, which, pictures, mean = (tensors[k] for k in ("steps", "which", "pictures", "mean"))
        kinds = [(t.dtype, t.ndim) for t in (steps, which, pictures, mean)]
        expected = [(torch.int64, 1)] * 2 + [(torch.uint8, 5), (torch.float16, 4)]
        if kinds != expected or pictures.shape[:2] != (len(steps), len(which)):
            raise ValueError("they are no frames")
        if mean.shape != (len(steps), *pictures.shape[2:]) or not len(steps) or (which < 0).any():
            raise ValueError("they are not of the same pictures")
        if (steps.diff() <= 0).any() or not mean.isfinite().all():
            raise ValueError("their steps are in no order")
        return Frames(tuple(steps.tolist()), tuple(which.tolist()), pictures, mean)
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RecordError(f"no frames can be read from {path}: {error}") from error
