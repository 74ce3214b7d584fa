"""Numbers at the points of a plot, where they cover as little as can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from mpkit.lab.kit.letters import shown

BESIDE = ((0, 6), (0, -6), (7, 0), (-7, 0), (6, 6), (-6, 6), (6, -6), (-6, -6), (0, 15), (0, -15))
"""Where a number may stand beside its point, in points; the first that is free is taken."""
TOGETHER, RADIUS = 1.5, 4
"""Points so near each other, in heights of a letter, share a line of numbers; and how many points
of length a marker reaches."""


def notes_for(axes: Axes, count: int, **look) -> list[Annotation]:
    """As many notes as there may be points, all empty."""
    how = {"xytext": (0, 6), "textcoords": "offset points", **look}
    return [axes.annotate("", (0, 0), **how) for _ in range(count)]


def number_points(
    axes: Axes, notes: Sequence[Annotation], places: Sequence[tuple[float, float, int]]
) -> None:
    """Put the numbers of some points (x, y, number) into `notes`. The axes have their place in the
    figure and their limits."""
    unit, inside = axes.figure.dpi / 72, axes.get_window_extent()
    spots = [axes.transData.transform((x, y)) for x, y, _ in places]
    reach = RADIUS * unit
    taken = [Bbox.from_extents(*(spot - reach), *(spot + reach)) for spot in spots]
    for note in notes:
        note.set_text("")
    near = TOGETHER * unit * (notes[0].get_fontsize() if notes else 0)
    for note, (middle, numbers) in zip(notes, _groups(spots, places, near), strict=False):
        note.xy = axes.transData.inverted().transform(middle)
        note.set_text(shown(", ".join(map(str, sorted(numbers)))))

        def covers(beside: tuple[int, int], note=note) -> int:
            _put(note, beside)
            box = note.get_window_extent()
            whole = inside.x0 < box.x0 and box.x1 < inside.x1 and inside.y0 < box.y0
            return sum(map(box.overlaps, taken)) + 9 * (not (whole and box.y1 < inside.y1))

        _put(note, min(BESIDE, key=covers))
        taken.append(note.get_window_extent())


def _put(note: Annotation, beside: tuple[int, int]) -> None:
    x, y = beside
    note.xyann = beside
    note.set_ha("left" if x > 0 else "right" if x < 0 else "center")
    note.set_va("bottom" if y > 0 else "top" if y < 0 else "center")


def _groups(spots: Sequence, places: Sequence, near: float) -> list[tuple[list[float], set[int]]]:
    """The middle of points that lie so `near` one another, in pixels, and their numbers."""
    groups: list[tuple[list, set[int]]] = []
    pairs = [(list(spot), number) for spot, (*_, number) in zip(spots, places, strict=True)]
    for spot, number in sorted(pairs, reverse=True):
        some, numbers = next((g for g in groups if math.dist(g[0][-1], spot) < near), ([], set()))
        if not some:
            groups.append((some, numbers))
        some.append(spot)
        numbers.add(number)
    return [([sum(xs) / len(xs) for xs in zip(*some, strict=True)], n) for some, n in groups]
