"""Labelled pictures as tensors: digits, road signs, clothes, CIFAR-10, or your own pictures.

`load_dataset` is the way in; data/README.md tells where data comes from and how to lay out yours.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from mpkit.data import cifar10, fashion, signs
from mpkit.data.archives import ARCHIVES, DataError, fingerprint
from mpkit.data.digits import DIGITS, camera, read_digits
from mpkit.data.faces import SIGNS, USUAL_SIGNS
from mpkit.data.layout import SPLITS, is_picture
from mpkit.data.names import of_class
from mpkit.data.pictures import Pictures, read_pictures, remember
from mpkit.data.places import at, cache_folder, exists

NAMED = ("digits", "signs", "fashion", "cifar10")
"""The data sets that are called by name: drawn, shipped with mpkit, or fetched once."""

DEFAULT_DATA = "signs"
"""The data set where none is named: of `load_dataset`, of an attack, of labs and commands."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """x (N, C, H, W) float32 in [0, 1], always multiples of 1/255; y (N,) int64; classes; name.

    A label i means classes[i]. Raises DataError where x or y have another type or shape.
    """

    x: torch.Tensor
    y: torch.Tensor
    classes: tuple[str, ...]
    name: str

    def __post_init__(self):
        x, y = self.x, self.y
        if x.ndim != 4 or x.dtype != torch.float32:
            raise DataError(f"x must be (N, C, H, W) float32, not {tuple(x.shape)} {x.dtype}")
        if y.shape != x.shape[:1] or y.dtype != torch.int64:
            raise DataError(f"y must be ({len(x)},) int64, not {tuple(y.shape)} {y.dtype}")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture."""
        return tuple(self.x.shape[1:])

    def subset(self, rows: torch.Tensor | Sequence[int]) -> Dataset:
        """The given rows, in their order: (n,) integers, or an (N,) bool mask of what to keep."""
        rows = torch.as_tensor(rows, device=self.x.device)
        rows = rows if rows.dtype == torch.bool else rows.long()
        return Dataset(self.x[rows], self.y[rows], self.classes, self.name)

    def rows_of(self, label: int) -> torch.Tensor:
        """(n,) int64: the rows of a class, in order. Raises DataError for an unknown label."""
        if not 0 <= label < len(self.classes):
            raise DataError(f"no label {label}: they go from 0 to {len(self.classes) - 1}")
        return (self.y == label).nonzero().flatten()

    def to(self, device: torch.device | str) -> Dataset:
        """The same on another device."""
        return Dataset(self.x.to(device), self.y.to(device), self.classes, self.name)


class Splits(NamedTuple):
    """What to train on and what to test on: the same classes, different pictures."""

    train: Dataset
    test: Dataset


def load_dataset(
    source: str | Path = DEFAULT_DATA,
    *,
    n_train: int | None = None,
    n_test: int | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
    classes: Iterable[str | int] | None = None,
    seed: int = 0,
    size: int = 32,
    noise: float = 0.5,
    difficulty: float = 1.0,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Splits:
    """Load "digits", "signs", "fashion", "cifar10" (fetched once), or the pictures at a path.

    source: one of these names, or the path of a folder or archive of pictures.
    n_train, n_test: how many pictures to draw. None takes all; of the 1,797 digits it takes 50 a
        class to train on and all the others to test on, of the signs 100 and 50 a class.
    max_train, max_test: at most how many that None takes, and fewer where there are fewer.
    classes: names, or positions in the source's own list, of those to keep. They become labels
        0, 1, … in the order given. None keeps all; of the signs, the six that are red and white.
    seed: of the draw, which for the digits is the split too, and for the signs all that is in
        them. A larger n extends a smaller one's.
    size, noise: of the digits, see `camera`; pictures from elsewhere come with their own.
    difficulty: how much the signs vary, see `mpkit.data.signs.ranges`.
    cache: folder for downloads and decoded pictures, see `cache_folder`.
    progress: show bars.

    Rows come in the shuffled order of the draw, which takes equally many of each class as far as
    there are (of the digits, those to test on are what is left). The same arguments give the same
    tensors, and torch's and numpy's own random states are neither read nor changed.

    Raises DataError, a ValueError, for whatever will not do in the arguments or the files.
    """
    numbers, limits = (n_train, n_test), (max_train, max_test)
    names = ("n_train", "n_test", "max_train", "max_test")
    for name, n in zip(names, numbers + limits, strict=True):
        if n is not None and (not isinstance(n, Integral) or n < 1):
            raise DataError(f"{name}={n} must be a whole number, 1 or more, or None for all")
    if source == "signs":
        return _draw_signs(numbers, limits, classes, seed, difficulty)
    folder, generator = cache_folder(cache), torch.Generator().manual_seed(seed)
    if source == "digits":
        digits, labels = read_digits(folder)
        x = camera(torch.from_numpy(digits).div_(16), size, noise)
        return _split_digits(x, labels, numbers, limits, classes, generator)
    if source == "cifar10":
        key = f"cifar10-{cifar10.SHA256[:16]}"
        pictures = remember(folder, key, lambda: cifar10.read(fetch_cifar10(folder, progress)))
        return _draw_splits(pictures, numbers, limits, classes, generator, source)
    if source == "fashion":
        return _draw_splits(fashion.read(), numbers, limits, classes, generator, source)
    pictures, name = _own_pictures(source, folder, progress)
    return _draw_splits(pictures, numbers, limits, classes, generator, name)


def _own_pictures(source: str | Path, cache: Path, progress: bool) -> tuple[Pictures, str]:
    """What lies at a path, and its name. Raises DataError where there is nothing."""
    path = at(source)
    if not str(source) or not exists(path):
        raise DataError(
            f"no data at {str(source)!r}: give {', '.join(map(repr, NAMED))}, or the path of "
            f"a folder or of an archive ({', '.join(ARCHIVES)})"
        )
    key = f"pictures-{fingerprint(path, is_picture)}"
    pictures = remember(cache, key, lambda: read_pictures(path, progress))
    for note in pictures.notes:
        warnings.warn(note, stacklevel=3)
    return pictures, path.resolve().name


def fetch_cifar10(cache: str | Path | None = None, progress: bool = True) -> Path:
    """Fetch CIFAR-10's binary archive into `cache_folder(cache)` once; give its verified path.

    Raises DataError as `mpkit.data.cifar10.fetch` does.
    """
    return cifar10.fetch(cache_folder(cache), progress)


def has_cifar10(cache: str | Path | None = None) -> bool:
    """Whether CIFAR-10 can be had without the network: decoded, or as the right archive."""
    folder = cache_folder(cache)
    key, archive = f"cifar10-{cifar10.SHA256[:16]}", folder / cifar10.URL.rpartition("/")[2]
    if all((folder / f"{key}.{kind}").is_file() for kind in ("json", "npy")):
        return True
    if not archive.is_file():
        return False
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == cifar10.SHA256


def _split_digits(x, labels, numbers, limits, classes, generator) -> Splits:
    kept = _kept(DIGITS, classes)
    rows = torch.randperm(len(labels), generator=generator).numpy()
    rows = rows[np.isin(labels[rows], kept)]
    (n_train, n_test), (max_train, max_test) = numbers, limits
    n_train = n_train or min(50 * len(kept), max_train or len(rows))
    rest, needed = len(rows) - n_train, n_test or 1
    if rest < needed:
        left = f"n_train={n_train} of {len(rows)} digits leaves {max(rest, 0)} to test on"
        raise DataError(f"{left}, where {needed} or more are asked for: lower n_train or n_test")
    # Balanced, so that a budget of a tenth can be had from any class.
    first = _balanced(rows, labels[rows], n_train)
    splits = []
    for part in first, rows[~np.isin(rows, first)][: n_test or max_test]:
        if missing := [DIGITS[k] for k in kept if k not in labels[part]]:
            raise DataError(f"n={len(part)} leaves out digit {', '.join(missing)}: draw more")
        splits.append(_relabelled(x[part], labels[part], DIGITS, kept, "digits"))
    return Splits(*splits)


def _draw_signs(numbers, limits, classes, seed: int, difficulty: float) -> Splits:
    kept, splits = _kept(SIGNS, USUAL_SIGNS if classes is None else classes), []
    for k, (split, n, limit) in enumerate(zip(SPLITS, numbers, limits, strict=True)):
        usual = signs.USUAL[split] * len(kept)
        asked, n = ("n", n) if n else ("max", min(limit or usual, usual))
        _check_number(f"{asked}_{split}", n, len(kept), signs.MOST)
        picks = signs.pick(kept, n, k, seed)
        x = torch.from_numpy(signs.draw(picks, k, seed, difficulty)).float().div_(255)
        labels = np.array([sign for sign, _ in picks])
        splits.append(_relabelled(x, labels, SIGNS, kept, "signs"))
    return Splits(*splits)


def _draw_splits(pictures: Pictures, numbers, limits, classes, generator, name: str) -> Splits:
    kept, start, splits = _kept(pictures.classes, classes), 0, []
    for split, n, limit in zip(SPLITS, numbers, limits, strict=True):
        counts = getattr(pictures, split)
        labels = np.repeat(np.arange(len(counts)), counts)
        rows = torch.randperm(len(labels), generator=generator).numpy()
        rows = rows[np.isin(labels[rows], kept)]
        asked, n = ("n", n) if n else ("max", min(limit or len(rows), len(rows)))
        _check_number(f"{asked}_{split}", n, len(kept), len(rows))
        rows = _balanced(rows, labels[rows], n)
        # Rows first, floats second: four bytes a pixel only for what is kept.
        x = torch.from_numpy(np.asarray(pictures.pixels[start + rows])).float().div_(255)
        splits.append(_relabelled(x, labels[rows], pictures.classes, kept, name))
        start += len(labels)
    return Splits(*splits)


def _check_number(name: str, n: int, least: int, most: int) -> None:
    if not least <= n <= most:
        raise DataError(f"{name}={n} must be from {least}, one a class, to {most}")


def _balanced(rows: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    # n rows in their order, taking the first of every class before the second of any, and so on.
    by_class, counts = np.argsort(labels, kind="stable"), np.bincount(labels)
    rank = np.empty_like(by_class)
    rank[by_class] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows[np.sort(np.argsort(rank, kind="stable")[:n])]


def _kept(names: tuple[str, ...], classes: Iterable[str | int] | None) -> list[int]:
    classes = names if classes is None else classes
    asked = [classes] if isinstance(classes, str | int) else list(classes)
    kept = []
    for name in asked:
        name = of_class(name) if isinstance(name, str) else name
        known = names if isinstance(name, str) else range(len(names))
        if name not in known:
            allowed = f"{', '.join(names)}, or their positions 0 to {len(names) - 1}"
            raise DataError(f"no class {name!r}: there are {allowed}")
        kept.append(known.index(name))
    if len(kept) < 2 or len(set(kept)) < len(kept):
        raise DataError(f"classes={asked} must name two classes or more, each once")
    return kept


def _relabelled(x: torch.Tensor, labels: np.ndarray, names, kept: list[int], name: str) -> Dataset:
    new = np.full(len(names), -1)
    new[kept] = np.arange(len(kept))
    return Dataset(x, torch.from_numpy(new[labels]), tuple(names[k] for k in kept), name)
