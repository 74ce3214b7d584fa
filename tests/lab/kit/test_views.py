"""Parts of pictures: what they show is what they were given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mpkit.lab.kit import views
from mpkit.lab.kit.canvas import BLUE, RED, new_figure
from mpkit.metapoison import CraftRecord


@pytest.fixture
def axes():
    return new_figure(4, 3).add_subplot()


def record(step: int, losses=(1.0, 2.0), loss=1.5) -> CraftRecord:
    return CraftRecord(step, loss, losses, (0, 3), 0.1, 0.0, 2, 0.0, 0.1)


def words(axes) -> list[str]:
    legend = axes.get_legend()
    return [t.get_text() for t in legend.get_texts()] if legend else []


def test_losses_are_dots_of_every_surrogate_and_a_line_of_their_mean(axes):
    view = views.LossView(axes, 5, 4, "dog")
    view.update([record(1), record(2, (-3.0, 0.0), -1.5)], [])
    fresh, *_, old, _ = [line.get_xydata().tolist() for line in view.dots.lines]  # 3 of 4 epochs
    assert fresh == [[1, 1], [2, -3]]
    assert sorted(old + view.dots.lines[-1].get_xydata().tolist()) == [[1, 2], [2, 0]]
    assert view.mean.get_ydata() == [1.5, -1.5]
    low, high = axes.get_ylim()
    assert low < -3
    assert high > 2
    assert words(axes)[0] == "below: called dog"


@pytest.mark.parametrize("oldest", [0, 1, 4, 30, 200])
def test_every_age_has_one_shade_and_the_bar_names_it(axes, oldest):
    dots = views.AgedDots(axes, oldest, "age")
    assert dots.bar.ax.get_ylabel() == "age"
    ages = list(range(oldest + 1))
    dots.show(ages, ages, ages)
    drawn = [line.get_xdata().tolist() for line in dots.lines]
    assert sorted(age for some in drawn for age in some) == ages
    assert drawn[0][0] == 0
    for line, some in zip(dots.lines, drawn, strict=True):
        norm, colours = dots.bar.norm, dots.bar.cmap
        assert all(colours(norm(age)) == line.get_color() for age in some)


def test_losses_that_are_no_numbers_do_not_move_the_limits(axes):
    view = views.LossView(axes, 5, 4, "dog")
    view.update([record(1, (math.nan, math.inf), math.nan)], [])
    assert all(map(math.isfinite, axes.get_ylim()))


def test_a_run_longer_than_planned_has_room(axes):
    view = views.LossView(axes, 2, 4, "dog")
    view.update([record(step) for step in range(1, 8)], [])
    assert axes.get_xlim() == (0, 7.5)


def test_marks_come_and_go_with_their_words(axes):
    artists = []
    views.show_marks(axes, artists, [(1.5, "ε 26 → 13"), (3.5, "K 2 → 1")])
    assert [a.get_text() for a in artists[1::2]] == [" ε 26 → 13 ", " K 2 → 1 "]
    assert list(artists[0].get_xdata()) == [1.5, 1.5]
    first = artists[0]
    views.show_marks(axes, artists, [(1.5, "ε 26 → 13")])
    assert artists[0] is first
    assert len(artists) == 2
    views.show_marks(axes, artists, [])
    assert artists == []
    assert len(axes.lines) == 0


def test_words_at_marks_never_lie_over_one_another_and_the_last_are_seen(axes):
    axes.set_xlim(0, 40.5)
    marks, artists = [(i + 0.5, f"ε {i} → {i + 1}") for i in range(0, 40, 3)], []
    for count in range(1, len(marks) + 1):  # as they come
        views.show_marks(axes, artists, marks[:count])
    seen = [word for word in artists[1::2] if word.get_visible()]
    boxes = [word.get_window_extent() for word in seen]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)
    assert artists[-1] in seen
    assert len(seen) >= 4
    views.show_marks(axes, artists, marks[:1])
    assert artists[1].get_visible()


def test_what_is_counted_has_ticks_at_whole_numbers(axes):
    axes.plot([0, 3], [0, 1])
    views.tidy(axes, "", "epoch")
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_probabilities_are_bars_and_two_classes_stand_out(axes):
    view = views.ProbabilityView(axes, ("a", "b", "c"), 0, 2, "it says")
    view.update([0.2, 0.3, 0.5])
    assert [bar.get_width() for bar in view.bars] == pytest.approx([0.2, 0.3, 0.5])
    colours = [tuple(round(255 * v) for v in bar.get_facecolor()[:3]) for bar in view.bars]
    assert colours[0] == tuple(bytes.fromhex(BLUE[1:]))
    assert colours[2] == tuple(bytes.fromhex(RED[1:]))
    assert len(set(colours)) == 3


def test_long_names_of_classes_get_room():
    figure = new_figure(4, 3)
    short, long = (views.room_for(names, figure) for names in (("a", "b"), ("a" * 14, "b")))
    assert 0 < short < long == views.room_for(("a" * 14,), figure)
    most = views.room_for(("a" * 16,), figure)
    assert views.room_for(("a" * 99,), figure) == pytest.approx(most, abs=0.1)


def test_groups_of_points_are_drawn_in_turn_and_have_room(axes):
    view = views.CloudView(axes, "features", [("o", BLUE, 4, "cats"), ("*", RED, 15, "target")])
    points = np.array([[0.0, 0], [2, 1], [1, 5]])
    view.update(points, [2, 1])
    assert list(view.groups[0].get_xdata()) == [0, 1]
    assert list(view.groups[1].get_ydata()) == [1]
    assert axes.get_xlim()[0] < 0
    assert axes.get_ylim()[1] > 1
    before = axes.get_xlim()
    view.update(np.full((3, 2), np.nan), [2, 1])  # what diverged is no place
    assert axes.get_xlim() == before
