"""Poisons that were made elsewhere: read as pictures, and checked as any others."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpkit.contest.limits import Limits
from mpkit.data import Dataset
from mpkit.data.archives import read_members
from mpkit.data.decoding import decode
from mpkit.data.schema import told
from mpkit.networks import Shape
from mpkit.runs.prepared import load_scenario
from mpkit.runs.record import ROOM, load_poisons

LAYOUT = (
    "wanted is a run's folder, or a folder or zip of PNGs named by the training row they replace"
)
MOST, MANY = 1 << 26, 1 << 16
"""Bytes of a team's pictures, and how many files they may be."""


class Poisons(NamedTuple):
    """uint8 pictures (P, C, H, W), and the training rows (P,) whose place they take."""

    pictures: Tensor
    rows: Tensor

    @property
    def digest(self) -> str:
        """Of what they are, in whatever order they came, and wherever they lie."""
        order = self.rows.argsort()
        parts = (part[order].numpy().tobytes() for part in self)
        return hashlib.sha256(b"".join(parts)).hexdigest()


def read(folder: Path, name: object, limits: Limits) -> tuple[Poisons, bytes]:
    """The poisons at a path in the submissions' folder, and all their bytes. Raises ValueError for
    what can't be read, or breaks the limits."""
    if limits.named is None:
        raise ValueError("these limits name no target for pictures made elsewhere")
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise ValueError(f"pictures must name what lies beside the submission, not {told(name)}")
    path = folder.joinpath(*parts)
    if any(folder.joinpath(*parts[: i + 1]).is_symlink() for i in range(len(parts))):
        raise ValueError(f"pictures {name!r} is a link, which is not followed")
    train = load_scenario(limits.attack(**limits.named), progress=False).train
    most = round(limits.budget * len(train))
    if (run := path / "poisons.safetensors").exists():
        room = most * (math.prod(train.shape) + 8) + ROOM
        if run.is_symlink() or (size := run.stat().st_size) > room:
            what = (
                "is a link" if run.is_symlink() else f"has {size:,} bytes; the budget is {room:,}"
            )
            raise ValueError(f"{run.name} of {name!r} {what}")
        found = Poisons(*load_poisons(path))
    else:
        found = _pngs(path, train.shape, most)
    check(found, train, limits)
    return found, b"".join(part.numpy().tobytes() for part in found)


def _pngs(path: Path, shape: Shape, most: int) -> Poisons:
    if not path.exists():
        raise ValueError(f"there are no pictures {path.name!r}: {LAYOUT}")
    _refuse_much(path)
    pictures, rows = [], []
    for name, blob in read_members(path, lambda name: name.lower().endswith(".png")):
        if blob is None:
            continue
        stem = PurePosixPath(name).stem
        if not (stem.isascii() and stem.isdigit() and len(stem) < 10):
            raise ValueError(f"{name!r} names no training row: {LAYOUT}")
        if len(rows) == most:
            raise ValueError(f"there are more than {most} pictures, which is the budget")
        image, _ = decode(name, blob, shape[1] * shape[2])
        levels = np.asarray(image)
        levels = levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)
        if levels.shape != tuple(shape):
            raise ValueError(f"{name!r} is {_size(levels.shape)}, and not {_size(shape)}")
        pictures.append(torch.from_numpy(levels.copy()))
        rows.append(int(stem))
    if not rows:
        raise ValueError(f"there are no pictures in {path.name!r}: {LAYOUT}")
    return Poisons(torch.stack(pictures), torch.tensor(rows))


def _refuse_much(path: Path) -> None:
    """Raises ValueError for what is neither a folder without links nor a zip, and for what takes
    long to read, whatever is in it."""
    if path.is_file() and path.suffix.lower() != ".zip":
        raise ValueError(f"{path.name!r} is no folder and no zip: {LAYOUT}")
    found, total = [path], 0
    while found:
        inner = found.pop()
        if inner.is_symlink():
            raise ValueError(f"{inner.name!r} in {path.name!r} is a link, which is not followed")
        if inner.is_dir():
            found += inner.iterdir()
        total += inner.stat().st_size
        if total > MOST or len(found) > MANY:
            raise ValueError(f"{path.name!r} has more than {MOST:,} bytes, or {MANY:,} files")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} × {shape[1]} in {'colour' if shape[0] == 3 else 'grey'}"


def check(poisons: Poisons, train: Dataset, limits: Limits) -> None:
    """Raises ValueError for poisons beyond the limits: too many, too much changed, of no picture,
    or twice the same. Labels are those of the rows, which no poison can change."""
    pictures, rows = poisons
    if pictures.ndim != 4 or rows.ndim != 1 or len(pictures) != len(rows) or not len(rows):
        raise ValueError("they are no pictures, one for each row")
    if tuple(pictures.shape[1:]) != tuple(train.shape):
        raise ValueError(f"they are {_size(pictures.shape[1:])}, and not {_size(train.shape)}")
    if len(rows) > (most := round(limits.budget * len(train))):
        raise ValueError(f"{len(rows)} pictures are changed, and the budget is {most}")
    if outside := [row for row in rows.tolist() if not 0 <= row < len(train)]:
        raise ValueError(f"there is no training picture {outside[0]}, but 0 … {len(train) - 1}")
    if len(rows.unique()) < len(rows):
        raise ValueError("a training picture is replaced twice")
    before = (255 * train.x[rows.to(train.x.device)].cpu()).round().int()
    moved = (pictures.cpu().int() - before).abs().flatten(1).amax(1)
    if int(moved.max()) > (bound := int(255 * limits.epsilon + 1e-6)):
        row, by = int(rows[moved.argmax()]), int(moved.max())
        raise ValueError(f"the picture in row {row} moved by {by} levels of 255, over ε: {bound}")
