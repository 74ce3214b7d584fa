"""Road signs, drawn: any number of pictures, decided by a seed, with nothing to download.

Every picture has random numbers of its own, counted off by seed, split, sign and number, so that
it is the same picture in a set of any size. They are taken from the generator as whole numbers,
and what is made of them are sums and products: the pixels are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

from mpkit.data import scenery
from mpkit.data.archives import DataError
from mpkit.data.faces import COLOURS, NOTHING, SIGNS, face
from mpkit.data.faces import SIDE as POINTS
from mpkit.data.scenery import SIDE

HARDEST = 2.0
"""The largest difficulty: beyond it signs would leave the picture."""

USUAL = {"train": 100, "test": 50}
"""Pictures of each sign where no number is asked for."""

MOST = 100_000  # pictures of a split: 1.2 GB in memory

FINER = 4  # a sign is drawn so many times too large, and then reduced
TOGETHER = 20  # pictures drawn at a time
DRAWN = ("turn", "size", "shift", "shift", "width", "light", "tint", "tint", "tint")
DRAWN += ("background", "blur")  # what takes a random number, in this order
LOTS = 2**32  # the stream that decides in which order signs come, beyond those of all signs
_VERSION = 1  # part of the key of all random numbers


def ranges(difficulty: float = 1.0) -> dict[str, tuple[float, float]]:
    """From where to where a sign and its picture may vary; everything is uniform in between.

    turn: degrees clockwise. size: height as a share of the picture's. shift: of its middle from
    the picture's, as a share of the picture. width: share of what it is seen from the front.
    light and background: brightness of the sign and of what is behind it. tint: of each colour,
    on top of it. blur: σ in pixels. noise: σ of the sensor, where white is 1.

    Each widens with the difficulty, which is 0 (nearly alike) to `HARDEST`. Raises DataError for
    others.
    """
    d = difficulty
    if not isinstance(d, Real) or not 0 <= d <= HARDEST:
        raise DataError(
            f"difficulty={d} must be a number from 0 (nearly alike) to {HARDEST:g}; usual is 1"
        )
    return {
        "turn": (-15 * d, 15 * d),
        "size": (0.65 - 0.15 * d, 0.65 + 0.1 * d),
        "shift": (-0.1 * d, 0.1 * d),
        "width": (1 - 0.2 * d, 1 + 0.1 * d),
        "light": (0.4**d, 0.9**d),
        "tint": (1 - 0.15 * d, 1 + 0.15 * d),
        "background": (0.5**d, 1.0),
        "blur": (0.0, 1.0 * d),
        "noise": (0.04 * d, 0.04 * d),
    }


def pick(kept: Sequence[int], n: int, split: int, seed: int) -> list[tuple[int, int]]:
    """n pictures as (sign, number), evenly of the signs `kept`; more of them begin with the same.

    In every round each sign has its turn once, in a random order.
    """
    picks = []
    for number in range(-(-n // len(kept))):
        lots = _raw(seed, (number, LOTS, split), len(SIGNS))
        picks += [(sign, number) for sign in sorted(kept, key=lots.__getitem__)]
    return picks[:n]


def draw(
    picks: Sequence[tuple[int, int]], split: int = 0, seed: int = 0, difficulty: float = 1.0
) -> np.ndarray:
    """The pictures that `pick` gave, (N, 3, SIDE, SIDE) uint8; `split` is 0 or 1, for two streams.

    Raises DataError as `ranges` does.
    """
    limits = ranges(difficulty)
    pixels = np.empty((len(picks), 3, SIDE, SIDE), np.uint8)
    for start in range(0, len(picks), TOGETHER):
        some = picks[start : start + TOGETHER]
        pixels[start : start + TOGETHER] = _draw(some, split, seed, limits)
    return pixels


def _draw(picks, split: int, seed: int, limits: dict) -> np.ndarray:
    sensor = 3 * SIDE * SIDE
    count = len(DRAWN) + scenery.NUMBERS + sensor
    raw = np.stack([_raw(seed, (number, sign, split), count) for sign, number in picks])
    u = (raw[:, :-sensor] >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
    turn, size, right, down, width, light, red, green, blue, background, blur = (
        limits[name][0] + (limits[name][1] - limits[name][0]) * u[:, k]
        for k, name in enumerate(DRAWN)
    )
    pictures = scenery.backgrounds(u[:, len(DRAWN) :]) * background[:, None, None, None]
    cover, colours = _signs(_seen([sign for sign, _ in picks], turn, size, right, down, width))
    colours *= (light[:, None] * np.stack([red, green, blue], 1))[:, :, None, None]
    pictures = _blurred(pictures * (1 - cover) + colours, blur, limits["blur"][1])
    pictures += limits["noise"][1] * _bell(raw[:, -sensor:]).reshape(pictures.shape)
    return np.clip(np.floor(pictures * 255 + 0.5), 0, 255).astype(np.uint8)


def _raw(seed: int, which: tuple[int, int, int], count: int) -> np.ndarray:
    """(count,) uint64 of the stream of one picture. Streams of different pictures never meet."""
    key = np.array([int(seed) % 2**64, _VERSION], np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, *which], np.uint64)).random_raw(count)


def _bell(raw: np.ndarray) -> np.ndarray:
    """Nearly normal, mean 0 and σ 1: the sums of eight bytes, which no machine rounds."""
    total = raw.view(np.uint8).reshape(*raw.shape, 8).sum(-1, dtype=np.int64)
    return (total - 1020) / math.sqrt(8 * (256**2 - 1) / 12)


def _seen(signs: Sequence[int], turn, size, right, down, width) -> np.ndarray:
    """Which of COLOURS is where, (N, SIDE · FINER, SIDE · FINER) uint8; the arguments are (N,)."""
    finer = SIDE * FINER
    at = (np.arange(finer) + 0.5) / finer - 0.5
    # tan(turn / 2), and from it sine and cosine: machines differ in how they round those.
    half = turn * (math.pi / 360)
    tan = half + half * half * half / 3
    cos, sin = (1 - tan * tan) / (1 + tan * tan), 2 * tan / (1 + tan * tan)
    seen = np.full((len(turn), finer, finer), NOTHING, np.uint8)
    for i, sign in enumerate(signs):
        x, y = at - right[i], (at - down[i])[:, None]
        per_share = POINTS / size[i]
        u = (x * cos[i] + y * sin[i]) * (per_share / width[i]) + POINTS / 2
        v = (y * cos[i] - x * sin[i]) * per_share + POINTS / 2
        # In uint64 numbers below zero become huge ones, and so are outside as well.
        column, row = (np.floor(w).astype(np.int64).astype(np.uint64) for w in (u, v))
        inside = (column < POINTS) & (row < POINTS)
        seen[i][inside] = face(SIGNS[sign])[row[inside], column[inside]]
    return seen


def _signs(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of each pixel that is sign, (N, 1, SIDE, SIDE), and its colours × share, (N, 3, …).

    seen: what `_seen` gave.
    """
    n = len(seen)
    cover, colours = np.zeros((n, 1, SIDE, SIDE)), np.zeros((n, 3, SIDE, SIDE))
    for colour, rgb in enumerate(COLOURS):
        if colour != NOTHING:
            here = (seen == colour).view(np.uint8)
            here = sum(here[:, k::FINER] for k in range(FINER))
            part = (sum(here[:, :, k::FINER] for k in range(FINER)) / FINER**2)[:, None]
            cover += part
            colours += part * (np.array(rgb) / 255)[:, None, None]
    return cover, colours


def _blurred(pictures: np.ndarray, sigma: np.ndarray, most: float) -> np.ndarray:
    """(N, 3, H, W) blurred by σ (N,) in pixels, `most` at most, with the edges going on outside.

    A pass of (w, 1 − 2w, w) adds 2w to σ², and is smooth up to a w of a quarter.
    """
    passes = math.ceil(2 * most * most)
    for _ in range(2 * passes):  # to the right, then down
        w = (sigma * sigma / (2 * passes))[:, None, None, None]
        around = pictures[..., :1], pictures, pictures[..., -1:]
        wide = np.concatenate(around, axis=-1)
        pictures = pictures + w * (wide[..., :-2] + wide[..., 2:] - 2 * pictures)
        pictures = pictures.swapaxes(2, 3)
    return pictures
