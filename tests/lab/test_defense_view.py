"""DefenseLab's picture."""

from __future__ import annotations

import pytest
from matplotlib.text import Text

from mpkit.lab.defense_judged import Judged
from mpkit.lab.defense_view import DefenseView
from mpkit.lab.kit.tools import Line
from tests.lab.test_defense_judged import record


def found(name: str, won: int, accuracy: float = 0.9, **more) -> Judged:
    records = [record("poisoned", v, v < won) for v in range(4)]
    records += [record("clean", v, False, accuracy) for v in range(4)]
    return Judged(name, tuple(records), **more)


@pytest.fixture
def view():
    view = DefenseView()
    view.lay_out(["none", "loss", "jpeg"])
    return view


def test_each_defense_has_a_row_and_a_point_at_its_clean_accuracy(view):
    view.update([found("none", 4, 0.95), found("jpeg", 1, 0.8)])
    for row, share, accuracy, words in ((0, 1.0, 0.95, "4 of 4"), (2, 0.25, 0.8, "1 of 4")):
        span, twin, point, count = view.rows[row]
        assert list(point.get_xdata()) == [share]
        assert list(twin.get_xdata()) == [0]
        low, high = span.get_xdata()
        assert low < share <= high
        assert count.get_text() == words
        up, other, dot = view.dots[row]
        assert dot.get_xydata().tolist() == [[pytest.approx(accuracy), share]]
        assert list(up.get_ydata()) == [low, high]
        assert other.get_xydata().tolist() == [[pytest.approx(accuracy), 0]]
    assert len(view.rows[1][2].get_xdata()) == 0
    assert sorted(t.get_text() for t in view.numbers if t.get_text()) == ["1", "3"]
    assert [line.get_data()[i][0] for i, line in enumerate(view.cross)] == [
        pytest.approx(0.95),
        1,
    ]


def test_points_at_one_place_share_their_numbers(view):
    view.update([found("none", 4), found("loss", 4), found("jpeg", 0)])
    assert sorted(t.get_text() for t in view.numbers if t.get_text()) == ["1, 2", "3"]


def test_what_is_not_here_has_no_point(view):
    view.update([Judged("jpeg", refused="why")])
    assert view.rows[2][3].get_text() == "not here"
    assert not len(view.dots[2][2].get_xdata())


def test_a_certificate_takes_room_and_gives_it_back(view):
    whole = view.points.get_position().height
    assert not view.certified.get_visible()
    view.update([found("jpeg", 0, certified=[0.9, 0.5, 0.0])])
    assert view.certified.get_visible()
    assert list(view.curve.get_ydata()) == [0.9, 0.5, 0.0]
    assert view.points.get_position().height < whole
    legend, title = view.points.get_legend(), view.certified.get_title(loc="left")
    assert {text.get_fontsize() for text in legend.get_texts()} == {8.0}  # as the other words
    (heading,) = (t for t in view.certified.findobj(Text) if t.get_text() == title)
    assert legend.get_window_extent().y0 > heading.get_window_extent().y1
    view.update([])
    assert view.points.get_position().height == whole


def test_runs_before_are_marks_in_the_rows_of_their_defenses(view):
    view.compare([Line("last run", [2, 0, 1], [0.5, 1.0, 0.2])], ["none", "spectral", "jpeg"])
    assert view.kept[0].get_xydata().tolist() == [[0.5, 2], [1.0, 0]]
    view.guess_at(0.3)
    assert list(view.guess.get_xdata()) == [0.3, 0.3]
