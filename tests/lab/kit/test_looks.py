"""How the arms look, and where a count is written."""

from __future__ import annotations

import pytest

from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import ARMS
from mpkit.lab.kit.canvas import new_figure
from mpkit.lab.kit.looks import LOOKS, show_count


def test_every_arm_is_told_apart_by_colour_marker_and_line():
    assert tuple(LOOKS) == ARMS
    for part in zip(*LOOKS.values(), strict=True):
        assert len(set(part)) == len(ARMS)


@pytest.mark.parametrize(
    ("won", "side"), [(0, "left"), (1, "left"), (4, "center"), (7, "right"), (8, "right")]
)
def test_a_count_stands_at_its_rate_and_at_an_end_it_is_written_inwards(won, side):
    words = new_figure(2, 1).add_subplot().text(0, 0, "")
    show_count(words, rate(won, 8))
    assert (words.get_text(), words.get_ha()) == (f"{won} of 8", side)
    assert words.get_position()[0] == won / 8


def test_those_that_diverged_are_counted_beside():
    words = new_figure(2, 1).add_subplot().text(0, 0, "")
    show_count(words, rate(3, 8), 2)
    assert words.get_text() == "3 of 8, 2 diverged"
