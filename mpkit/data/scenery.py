"""Backgrounds for drawn pictures: sky, trees or walls, ground, and blurred things before them.

Nothing is photographed. Random numbers come in, and sums and products make colours of them, so
that the same numbers give the same colours on every machine.
"""

from __future__ import annotations

import numpy as np

SIDE = 32  # pixels a side

# Dark and light, as red, green and blue of 0 … 255.
SKIES = (
    ((118, 160, 214), (226, 236, 246)),  # blue, with clouds
    ((84, 128, 190), (150, 186, 224)),
    ((150, 156, 166), (216, 218, 222)),  # grey
    ((206, 140, 98), (244, 212, 168)),  # evening
    ((70, 78, 110), (170, 150, 160)),  # dusk
)
MIDDLES = (
    ((22, 46, 16), (112, 142, 58)),  # leaves
    ((12, 32, 30), (60, 98, 72)),  # firs
    ((96, 46, 18), (218, 148, 54)),  # autumn
    ((52, 60, 24), (170, 172, 96)),  # bushes
    ((104, 48, 40), (176, 104, 84)),  # brick
    ((166, 150, 124), (232, 222, 204)),  # plaster
    ((100, 100, 98), (180, 178, 172)),  # concrete
    ((58, 74, 96), (150, 170, 186)),  # glass
)
GROUNDS = (
    ((52, 53, 58), (112, 112, 116)),  # asphalt
    ((44, 76, 26), (146, 166, 80)),  # grass
    ((74, 50, 34), (164, 130, 94)),  # soil
    ((150, 136, 108), (206, 196, 170)),  # gravel
)
THINGS = SKIES + MIDDLES + GROUNDS

CELLS = (2, 4, 8, 16)  # a side: the octaves of the texture, from coarse to fine
FIELDS = 3  # textures a picture: of the sky, of what stands before it, of the ground
BOXES = 4  # blurred things a picture: trunks, windows, roofs, cars
OF_BOX = 8  # random numbers for one of them
OF_LAYOUT = 12
OF_FIELD = sum((cells + 1) ** 2 for cells in CELLS)
NUMBERS = OF_LAYOUT + BOXES * OF_BOX + FIELDS * OF_FIELD
"""How many random numbers a background takes."""


def backgrounds(u: np.ndarray) -> np.ndarray:
    """Colours of 0 … 1, (N, 3, SIDE, SIDE) float64, out of (N, NUMBERS) uniform in [0, 1)."""
    layout, boxes, fields = np.split(u, [OF_LAYOUT, OF_LAYOUT + BOXES * OF_BOX], axis=1)
    rough = 0.45 + 0.4 * layout[:, 0, None, None]
    textures = [_texture(f, rough) for f in np.split(fields, FIELDS, axis=1)]
    y = (np.arange(SIDE) + 0.5)[:, None] / SIDE
    # Skies are lighter at the horizon, and smoother than the rest.
    colours = _coloured(SKIES, layout[:, 1], 0.5 * y + 0.5 * textures[0])
    for i, (kinds, highest, height) in enumerate(((MIDDLES, -0.6, 1.5), (GROUNDS, 0.55, 0.9))):
        # Where it begins, how uneven and how soft its edge is.
        begin, uneven, soft = (layout[:, 2 + 4 * i + k, None, None] for k in range(3))
        line = highest + height * begin + 0.5 * uneven * (textures[0] - 0.5)
        cover = np.clip((y - line) * (4 + 28 * soft) + 0.5, 0, 1)[:, None]
        texture = np.clip(0.5 + 1.6 * (textures[1 + i] - 0.5), 0, 1)
        colours += cover * (_coloured(kinds, layout[:, 5 + 4 * i], texture) - colours)
    for box in np.split(boxes, BOXES, axis=1):
        colours += _box(box, y) * (_coloured(THINGS, box[:, 6], textures[2]) - colours)
    return colours


def _coloured(kinds, which: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The kind that (N,) numbers choose, dark where light (N, SIDE, SIDE) is 0: (N, 3, …)."""
    pairs = np.array(kinds)[(which * len(kinds)).astype(np.int64)] / 255
    dark, bright = pairs[:, 0, :, None, None], pairs[:, 1, :, None, None]
    return dark + (bright - dark) * light[:, None]


def _box(u: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much of a thing is to be seen: (N, 1, SIDE, SIDE), of 0 … 1, from (N, OF_BOX)."""
    middle_x, middle_y, wide, high, soft, there = (u[:, k, None, None] for k in range(6))
    wide, high = 0.03 + 0.25 * wide * wide, 0.05 + 0.5 * high * high
    sharp = 5 + 30 * soft
    across = np.clip((wide - np.abs(y.T - middle_x)) * sharp + 0.5, 0, 1)
    along = np.clip((high - np.abs(y - middle_y)) * sharp + 0.5, 0, 1)
    return (across * along * np.clip(2 * there - 0.6, 0, 1))[:, None]


def _texture(u: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """(N, SIDE, SIDE) of 0 … 1: random grids of CELLS, each `rough` times as strong as the last."""
    total, strength, start, all_strengths = 0.0, 1.0, 0, 0.0
    for cells in CELLS:
        grid = u[:, start : start + (cells + 1) ** 2].reshape(-1, cells + 1, cells + 1)
        total = total + strength * _smooth(grid)
        all_strengths = all_strengths + strength
        strength, start = strength * rough, start + (cells + 1) ** 2
    # A mean of several lies near the middle: spread it.
    return np.clip(0.5 + 1.9 * (total / all_strengths - 0.5), 0, 1)


def _smooth(grid: np.ndarray) -> np.ndarray:
    """A grid's values (N, c + 1, c + 1) at every pixel between them: (N, SIDE, SIDE)."""
    at = (np.arange(SIDE) + 0.5) * (grid.shape[1] - 1) / SIDE
    low = at.astype(np.int64)
    t = at - low
    t = t * t * (3 - 2 * t)
    rows = grid[:, low] + (grid[:, low + 1] - grid[:, low]) * t[:, None]
    return rows[:, :, low] + (rows[:, :, low + 1] - rows[:, :, low]) * t
