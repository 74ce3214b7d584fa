"""What the drawn road signs show, as shapes in plane coordinates: no font and no picture file.

A face lies in the square −1 … 1, x to the right and y down. Every shape is decided by sums,
products and comparisons, which have the same last bit on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np

COLOURS = ((0, 0, 0), (196, 22, 34), (246, 246, 246), (22, 22, 24), (252, 200, 12))
"""Red, green and blue of 0 … 255; number 0 is where the sign is not."""

NOTHING, RED, WHITE, BLACK, YELLOW = range(len(COLOURS))

SIDE = 256  # points a side at which a face is known, twice as many as are ever asked for

# Strokes through points "x,y" of a box that goes from −100 to 100 both ways.
GLYPHS = {
    "S": [
        "90,-60 50,-100 -50,-100 -90,-65 -90,-40 -50,-8 50,8 90,40 90,65 50,100 -50,100 -90,60",
    ],
    "T": ["-100,-100 100,-100", "0,-100 0,100"],
    "O": ["-40,-100 40,-100 90,-55 90,55 40,100 -40,100 -90,55 -90,-55 -40,-100"],
    "P": ["-80,100 -80,-100 40,-100 90,-70 90,-20 40,10 -80,10"],
    "5": ["85,-100 -75,-100 -85,-15 -40,-30 40,-30 95,5 95,60 50,100 -50,100 -95,70"],
    "0": ["-40,-100 40,-100 85,-55 85,55 40,100 -40,100 -85,55 -85,-55 -40,-100"],
}

# An arrow that turns: its shaft and its head.
_LEFT = [(0.22, 0.5), (0.22, -0.18), (-0.4, -0.18)], [(-0.16, -0.46), (-0.44, -0.18), (-0.16, 0.1)]


@cache
def face(name: str) -> np.ndarray:
    """(SIDE, SIDE) uint8: which of COLOURS a sign has at each point, row by row from the top."""
    y, x = (np.mgrid[:SIDE, :SIDE] * 2 + 1 - SIDE) / SIDE
    points = np.full((SIDE, SIDE), NOTHING, np.uint8)
    for inside, colour in _LAYERS[name](x, y):
        points[inside] = colour
    points.setflags(write=False)
    return points


def _stop(x, y):
    yield _octagon(x, y, 0.98), WHITE
    yield _octagon(x, y, 0.9), RED
    yield _text("STOP", x, y, (1.42, 0.52), 0.062), WHITE


def _give_way(x, y):
    yield _triangle(x, y, 1.0), RED
    yield _triangle(x, y, 0.56), WHITE


def _danger(x, y):
    yield _triangle(x, -y, 1.0), RED
    yield _triangle(x, -y, 0.56), WHITE
    yield (np.abs(x) <= 0.09) & (np.abs(y - 0.1) <= 0.27), BLACK
    yield _disc(x, y - 0.54, 0.11), BLACK


def _no_entry(x, y):
    yield _disc(x, y, 0.98), WHITE
    yield _disc(x, y, 0.93), RED
    yield (np.abs(x) <= 0.66) & (np.abs(y) <= 0.17), WHITE


def _no_left_turn(x, y):
    yield _disc(x, y, 0.98), RED
    yield _disc(x, y, 0.77), WHITE
    for line in _LEFT:
        yield _stroke(line, x, y, 0.1), BLACK
    yield _stroke([(-0.58, -0.58), (0.58, 0.58)], x, y, 0.09), RED


def _priority(x, y):
    spread = np.abs(x) + np.abs(y)
    yield spread <= 1, WHITE
    yield spread <= 0.76, YELLOW


def _speed(text: str):
    def layers(x, y):
        yield _disc(x, y, 0.98), RED
        yield _disc(x, y, 0.77), WHITE
        yield _text(text, x, y, (1.06, 0.8), 0.078), BLACK

    return layers


_LAYERS = {
    "stop": _stop,
    "give way": _give_way,
    "danger": _danger,
    "no entry": _no_entry,
    "no left turn": _no_left_turn,
    "speed 50": _speed("50"),
    "priority": _priority,
}
SIGNS = tuple(_LAYERS)
USUAL_SIGNS = SIGNS[:6]
"""Those that are drawn where none are named: red and white all of them, as a yellow one is known by
its colour alone, and nothing is hard about it."""


def _disc(x, y, radius: float) -> np.ndarray:
    return x * x + y * y <= radius * radius


def _octagon(x, y, half: float) -> np.ndarray:
    across, up = np.abs(x), np.abs(y)
    return (across <= half) & (up <= half) & (across + up <= half * 1.41421356)


def _triangle(x, y, scale: float) -> np.ndarray:
    """On its tip, shrunk towards the middle of its three sides by `scale`."""
    middle = -0.26
    up = (y - middle) / scale
    return (up >= -0.6) & (np.abs(x) / scale <= (1.2 - up) * 0.5556)


def _text(text: str, x, y, size: tuple[float, float], half: float) -> np.ndarray:
    """Glyphs side by side in the middle, in a box of (width, height), with strokes 2 · half thick.

    A fifth of each glyph's share of the width is the gap to the next.
    """
    inside = np.zeros(x.shape, bool)
    width = (size[0] + 0.2 * size[0] / len(text)) / len(text)
    wide, high = 0.4 * width - half, size[1] / 2 - half
    for i, letter in enumerate(text):
        middle = (i - (len(text) - 1) / 2) * width
        for line in GLYPHS[letter]:
            points = [tuple(map(int, point.split(","))) for point in line.split()]
            line = [(middle + u / 100 * wide, v / 100 * high) for u, v in points]
            inside |= _stroke(line, x, y, half)
    return inside


def _stroke(line: Sequence[tuple[float, float]], x, y, half: float) -> np.ndarray:
    """All that is at most `half` away from a line through the points."""
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in pairwise(line):
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        inside |= _disc(x - x0 - along * dx, y - y0 - along * dy, half)
    return inside
