"""Numbers stand beside their points, and cover nothing."""

from __future__ import annotations

import pytest

from mpkit.lab.kit.canvas import new_figure
from mpkit.lab.kit.numbers import notes_for, number_points


def free(axes) -> bool:
    """Whether its notes cover neither each other nor the points of its lines."""
    boxes = [note.get_window_extent() for note in axes.texts if note.get_text()]
    spots = [axes.transData.transform(xy) for line in axes.lines for xy in line.get_xydata()]
    apart = not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    return apart and not any(box.contains(*spot) for box in boxes for spot in spots)


def plotted(places, large: bool = False):
    axes = new_figure(6, 3, large).add_subplot()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([x for x, *_ in places], [y for _, y, _ in places], "o", ls="")
    notes = notes_for(axes, len(places), fontsize=12 if large else 8)
    number_points(axes, notes, places)
    return axes, [note.get_text() for note in notes]


@pytest.mark.parametrize("large", [False, True])
def test_numbers_in_a_crowd_cover_nothing(large):
    places = [(0.55 + 0.06 * i, 0.95, i) for i in range(6)]
    places += [(0.02, 0.02, 6), (0.98, 0.03, 7), (0.6, 0.8, 8), (0.63, 0.7, 9)]
    axes, told = plotted(places, large)
    assert sorted(int(n) for words in told if words for n in words.split(", ")) == list(range(10))
    assert free(axes)
    inside = axes.get_window_extent()
    for note in axes.texts:
        if note.get_text():
            box = note.get_window_extent()
            assert inside.contains(box.x0, box.y0)
            assert inside.contains(box.x1, box.y1)


def test_points_at_one_place_share_a_note():
    _, told = plotted([(0.5, 0.5, 3), (0.505, 0.5, 1), (0.1, 0.5, 2)])
    assert sorted(told) == ["", "1, 3", "2"]


def test_what_stood_there_before_goes():
    axes, _ = plotted([(0.5, 0.5, 3), (0.1, 0.5, 2)])
    number_points(axes, axes.texts, [(0.7, 0.2, 5)])
    assert sorted(note.get_text() for note in axes.texts) == ["", "5"]
    number_points(axes, axes.texts, [])
    assert {note.get_text() for note in axes.texts} == {""}
