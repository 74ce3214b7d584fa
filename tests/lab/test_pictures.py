"""What holds for the pictures of all labs: legends hide no curve, empty axes tell no numbers that
mean nothing, and no class is named across the target."""

from __future__ import annotations

import numpy as np
import pytest

from mpkit.lab import CollisionLab, CompareLab, CraftLab, VictimsLab
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.tools import Line
from tests.lab.actions import new
from tests.lab.conftest import LABS, finished, press


def hidden(figure) -> list[str]:
    """The curves with a point under the legend of their own plot."""
    found = []
    figure.canvas.draw()
    for axes in figure.axes:
        if (legend := axes.get_legend()) is None:
            continue
        box = legend.get_window_extent()
        upright = [line for line in axes.lines if line.get_transform() != axes.transData]
        curves = [line for line in axes.lines if line not in upright]  # not guesses, marks, zeros
        points = [(c.get_label(), c.get_xydata()) for c in curves]
        points += [("dots", np.asarray(c.get_offsets())) for c in axes.collections]
        for label, spots in points:
            spots = axes.transData.transform(spots[np.isfinite(spots).all(1)])
            inside = (spots > (box.x0, box.y0)) & (spots < (box.x1, box.y1))
            found += [label] * bool(inside.all(1).any())
    return found


def named(lab) -> None:
    """Every kind of curve that a plot may have: the last run's, two that were kept, and a guess."""
    x, y = map(list, lab.curve())
    wide = 1.0 if isinstance(lab, VictimsLab | CompareLab) else 3 * max(map(abs, y)) + 1
    lab.ghost = Line("last run", x, y)
    lab.named = [Line("kept under a name of forty letters, or so", x, [wide] * len(x))]
    lab.kept()


@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_no_legend_hides_a_curve(kind, small, until):
    lab = small(kind, pairs=1) if kind is CompareLab else new(kind)
    try:
        finished(lab, until)
        named(lab)
        assert not hidden(lab.canvas.figure)
        press(lab, "reset")
        lab.question = Question("?", 0, 10, 5)
        lab._answered(4)
        finished(lab, until)
        assert not hidden(lab.canvas.figure)
        if kind is CraftLab:
            lab.victim.start()
            until(lambda: lab.victim.runner.phase.ended)
            assert not hidden(lab.victim.figure)
    finally:
        lab.close()


@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_axes_without_anything_on_them_tell_no_numbers_that_mean_nothing(kind, small):
    lab = new(kind)
    try:
        lab.canvas.figure.canvas.draw()
        for axes in lab.canvas.figure.axes:
            for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                if any(t.get_text() for t in axis.get_ticklabels() if t.get_visible()):
                    low, high = sorted(limits)
                    assert high - low > 0.5, f"{axes.get_title(loc='left')}: {limits}"
    finally:
        lab.close()


def test_nothing_has_changed_before_the_first_step(small):
    lab = small(CollisionLab)
    base, change, poison, _ = np.frombuffer(lab.view.faces.pixels, np.uint8).reshape(4, -1)
    assert (change == 128).all()
    assert (base == poison).all()


GAP = 2  # pixels between a name and the plot beside it
CLASSES = (
    ("1", "7"),
    ("stop", "no left turn"),
    ("give way to oncoming vehicles", "no entry for vehicles of more than 3.5 t"),
    ("猫" * 12, "犬" * 12),
)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", [CraftLab, VictimsLab])
@pytest.mark.parametrize("names", CLASSES, ids=["short", "signs", "long", "wide"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_no_class_is_named_across_another_plot(kind, large, names, small, monkeypatch):
    lab = small(kind, large=large)
    scenario = lab.scenario if kind is CraftLab else lab.source.scenario
    object.__setattr__(scenario.train, "classes", names)
    lab._lay_out()
    figure, bars = lab.canvas.figure, lab.view.bars.bars[0].axes
    figure.canvas.draw()
    row = bars.get_window_extent()
    others = [axes for axes in figure.axes if axes is not bars]
    beside = [axes.get_window_extent() for axes in others]
    beside += [axes.yaxis.get_tightbbox(figure.canvas.get_renderer()) for axes in others]
    beside = [box for box in beside if box and box.y0 < row.y1 and box.y1 > row.y0]
    assert beside
    for text in bars.get_yticklabels():
        box = text.get_window_extent()
        assert all(box.x0 >= other.x1 + GAP for other in beside if other.y1 > box.y0), text
