"""Legends that hide no curve, and names that fit beside a plot."""

from __future__ import annotations

import pytest

from mpkit.lab.kit import legends
from mpkit.lab.kit.canvas import new_figure
from mpkit.lab.kit.tools import Line


@pytest.fixture
def axes():
    return new_figure(4, 3).add_subplot()


def words(axes) -> list[str]:
    legend = axes.get_legend()
    return [t.get_text() for t in legend.get_texts()] if legend else []


def test_kept_runs_are_drawn_and_named_and_taken_away(axes):
    artists = [axes.plot([], [], color=c, ls=s)[0] for c, s in legends.KEPT_STYLES]
    legends.show_kept(axes, artists, [Line("last run", [1, 2], [3, 4]), Line("mine", [1], [5])])
    assert words(axes) == ["last run", "mine"]
    assert list(artists[0].get_ydata()) == [3, 4]
    legends.show_kept(axes, artists, [])
    assert words(axes) == []
    assert len(artists[0].get_ydata()) == 0


def test_a_guess_is_a_line_and_none_stays_out_of_sight(axes):
    line = legends.guess_line(axes)
    legends.show_guess(line, None)
    assert list(line.get_xdata()) == [-1, -1]
    legends.show_guess(line, 7)
    assert list(line.get_xdata()) == [7, 7]
    assert words(axes) == ["your guess: 7"]


@pytest.mark.parametrize(
    "names", [["a"], ["a", "b", "c"], ["a name of forty letters, as long as may be"] * 4]
)
@pytest.mark.parametrize("ends", [(-2, 6), (3.5, -0.5)])  # the second as rows from the top down
def test_a_legend_lies_above_all_that_is_held(axes, names, ends):
    for name in names:
        axes.plot([0, 1], ends, label=name)
    legends.hold(axes, *ends)
    assert axes.get_ylim() == ends  # no legend, no room
    legends.legend(axes)
    axes.figure.canvas.draw()
    top = axes.transData.transform((0, ends[1]))[1]
    assert axes.get_legend().get_window_extent().y0 > top > axes.bbox.y0


def test_a_kept_run_that_reaches_further_is_held_too(axes):
    artists = [axes.plot([], [])[0] for _ in range(3)]
    legends.hold(axes, 0, 1)
    legends.show_kept(axes, artists, [Line("last run", [0, 1], [float("nan"), 7])])
    assert axes.held == (0, 7)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("stop", "stop"),
        ("a" * 16, "a" * 16),
        ("a very long class name, first", "a very l…, first"),
        ("a very long class name, other", "a very l…, other"),
        ("猫" * 8, "猫" * 8),
        ("猫" * 20, "猫猫猫…猫猫"),
    ],
)
def test_a_long_name_keeps_both_of_its_ends(name, shown):
    found = legends.brief(name)
    assert legends.width(found) <= legends.LONGEST
    assert found[0] == shown[0]
    assert found[-1] == shown[-1]
    if legends.width(name) <= legends.LONGEST:
        assert found == name
    elif "class" in name:
        assert found == shown


@pytest.mark.filterwarnings("error")
def test_what_is_all_at_one_height_has_limits_nevertheless(axes):
    legends.hold(axes, 0, 0)
    low, high = axes.get_ylim()
    assert low == 0 < high


@pytest.mark.parametrize(("name", "smaller"), [("a", False), ("a much longer name", True)])
def test_a_legend_below_is_whole_within_the_figure(name, smaller):
    figure = new_figure(9, 3, large=True)
    axes = figure.subplots(1, 2)[1]
    for i in range(5):
        axes.plot([], [], "o", label=f"{name} {i}")
    legends.legend_below(axes)
    found = axes.get_legend()
    seen = found.get_window_extent()
    assert seen.x0 >= 0
    assert seen.x1 <= figure.bbox.width
    assert (found.get_texts()[0].get_fontsize() < 12) == smaller
