"""scikit-learn's handwritten digits, and the bad camera through which mpkit sees them."""

from __future__ import annotations

import gzip
import importlib.util
import math
from numbers import Integral
from pathlib import Path

import numpy as np
import torch

from mpkit.data.archives import DataError
from mpkit.data.pictures import load_array, save

DIGITS = tuple("0123456789")
CAMERA_SEED = 1797  # of the sensor noise, so that a digit keeps its noise whatever the split


LARGEST = 128
"""The most pixels a side: the pictures have 8, and all that were asked for stay in memory."""


def camera(images: torch.Tensor, size: int = 32, noise: float = 0.5) -> torch.Tensor:
    """The digits as a bad camera sees them: enlarged, with sensor noise, at low gain, in 8 bits.

        seen = clip(1/2 + gain · (enlarge(images) − 1/2 + noise · z)),  gain = 1/(1 + 2 · noise)

    images: (N, 1, 8, 8) in [0, 1]; gives (N, 1, size, size) float32, multiples of 1/255.
    size: in pixels, 8 to `LARGEST`, reached bilinearly. noise: the σ of the sensor where ink and
    paper are 1 apart; 0 gives them clean. z is standard normal, drawn for all N at once from
    CAMERA_SEED. The gain is turned down so far that noise of one σ beyond black and white is not
    clipped.

    As they are the digits resist poisoning: a clean target has near relatives of its own class in
    the training set, a noisy one has none (docs/results.md, with what else was thought to be the
    reason). Clipped noise would betray the poisons: nothing black stays black under a
    perturbation.

    Raises DataError for a size or noise out of range.
    """
    if not isinstance(size, Integral) or not 8 <= size <= LARGEST:
        raise DataError(f"size={size} must be a whole number of pixels, from 8 to {LARGEST}")
    if not 0 <= noise < math.inf:
        raise DataError(f"noise={noise} must be 0 (clean) or more; at 0.5 digits are just readable")
    x = torch.nn.functional.interpolate(
        images.float(), (size, size), mode="bilinear", align_corners=False
    )
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(CAMERA_SEED))
    seen = 0.5 + (x - 0.5 + noise * z.to(x.device)) / (1 + 2 * noise)
    return seen.clamp_(0, 1).mul_(255).round_().div_(255)


def read_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(1797, 1, 8, 8) float32 of 0 … 16 and (1797,) int64 labels; kept in `folder` once read.

    Raises DataError without scikit-learn.
    """
    # Kept as rows of a label and 64 pixels.
    path = folder / "digits-8x8.npy"
    rows = load_array(path)
    if rows is None or rows.shape != (1797, 65):
        rows = _table()
        save(path, lambda file: np.save(file, rows))
    return rows[:, 1:].reshape(-1, 1, 8, 8).astype(np.float32), rows[:, 0].astype(np.int64)


def _table() -> np.ndarray:
    """A label and 64 pixels of 0 … 16 a row: (1797, 65) uint8."""
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise DataError("digits come with scikit-learn: pip install scikit-learn")
    # Its file, where load_digits() finds it too: importing sklearn.datasets takes a second.
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        with gzip.open(file, "rt") as text:
            return np.roll(np.loadtxt(text, np.uint8, delimiter=","), 1, axis=1)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.target, bunch.data]).astype(np.uint8)
