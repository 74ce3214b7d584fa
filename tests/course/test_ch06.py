"""Chapter 06: its picture, and what it says of the recorded results."""

from __future__ import annotations

import re

import pytest

from mpkit.course.ch06 import CHANGES
from mpkit.course.exercises import EXERCISES
from mpkit.course.recorded import TABLES
from mpkit.course.slides import draw_slide, shares
from mpkit.evaluation import VictimRecord
from mpkit.rates import rate


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


def test_the_exercise_on_recipes_asks_for_what_its_table_says():
    rows = TABLES["recipes"].results
    assert len(rows) == 1 + len(CHANGES)
    first, *others = (rate(r.successes, r.n) for r in rows)
    lost = {name for name, r in zip(CHANGES, others, strict=True) if r.high < first.low}
    assert EXERCISES["06.transfer"].judge(lost).right


def test_flags_of_recorded_results_are_flags_of_the_command_line(capsys):
    from mpkit.__main__ import main

    for table in TABLES.values():
        command = table.command.split()[1]
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        for row in table.results:
            assert set(re.findall(r"--[a-z-]+", row.flags)) <= known, row
