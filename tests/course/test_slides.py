"""Rows of pictures, and figures in the manner of the slides."""

from __future__ import annotations

import pytest
import torch

from mpkit.course import slides
from mpkit.course.slides import draw_slide, shares
from mpkit.evaluation.victims import VictimRecord


def test_the_change_is_shown_around_grey(pictures, monkeypatch):
    shown = []
    monkeypatch.setattr(slides, "show", lambda *given: shown.append(given))
    bases, poisons = pictures
    slides.show_change(bases[:2], poisons[:2], bases[5], "7", "1")
    ((images, titles, columns),) = shown
    assert len(images) == len(titles) == 7
    assert columns == 3  # base, change and poison side by side
    assert torch.equal(images[3], bases[1])
    assert torch.equal(images[5], poisons[1])
    wanted = (0.5 + 2 * (poisons[1] - bases[1])).clamp(0, 1)
    assert torch.equal(images[4], wanted)
    assert titles[2] == "poison: labelled 7"
    assert titles[6] == "the target: a 1"


def victim(arm: str, number: int, wanted: float, true: float) -> VictimRecord:
    """One that gives these probabilities to the classes 7 and 1."""
    return VictimRecord(arm, number, (7,), (wanted > true,), (wanted,), (true,), 0.8)


@pytest.fixture
def records():
    rows = {"poisoned": [(0.9, 0.05), (0.5, 0.3)], "clean": [(0.1, 0.8)], "noise": [(0.2, 0.7)]}
    return [victim(arm, v, *p) for arm, said in rows.items() for v, p in enumerate(said)]


def test_shares_are_means_over_one_arm_and_sum_to_one(records):
    assert shares(records, "poisoned") == pytest.approx((0.7, 0.175, 0.125))
    assert sum(shares(records, "noise")) == pytest.approx(1)
    with pytest.raises(ZeroDivisionError):
        shares(records[:2], "clean")


def test_the_slide_shows_the_means_and_every_victim(records):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = draw_slide(records, true="1", wanted="7")
    slide, dots = figure.axes
    widths = [bar.get_width() for bar in slide.patches]
    assert widths == pytest.approx([0.7, 0.175, 0.125])
    assert [t.get_text() for t in slide.get_yticklabels()] == ["7", "1", "all others"]
    assert [list(line.get_xdata()) for line in dots.lines] == [[0.9, 0.5], [0.1], [0.2]]
    heights = [y for line in dots.lines for y in line.get_ydata()]
    assert [round(y) for y in heights] == [0, 0, 1, 2]  # every dot in the row of its arm
    plt.close(figure)
