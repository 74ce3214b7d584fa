"""CompareLab's picture: a row a variant and arm."""

from __future__ import annotations

import math

import pytest

from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import VictimRecord, silent
from mpkit.lab.compare_view import CompareView, Row
from mpkit.lab.kit.tools import Line


def victim(number: int, won: bool, accuracy: float, arm: str = "poisoned") -> VictimRecord:
    return VictimRecord(arm, number, (1,), (won,), (0.5,), (0.5,), accuracy)


@pytest.fixture
def rows():
    one = [victim(0, True, 0.9), victim(1, False, 0.8), silent(victim(2, True, 0.1))]
    noise = [victim(0, False, 0.7, "noise")]
    return [Row("K = 1", "poisoned", one, [-1.0, 2.0], 5), Row("noise", "noise", noise, [], 5)]


def test_a_row_counts_what_did_not_diverge(rows):
    assert rows[0].rate == rate(1, 3)
    assert rows[0].diverged == 1
    assert rows[0].accuracy == pytest.approx(0.85)
    assert Row("", "poisoned", [], [], 5).rate is None


def test_rates_losses_and_accuracies_stand_in_their_rows(rows):
    view = CompareView()
    view.lay_out(rows)
    view.update(rows)
    for place, (row, parts) in enumerate(zip(rows, view.parts, strict=True)):
        shown, losses, levels = parts
        point, span, words = shown.point, shown.span, shown.words
        assert list(point.get_xdata()) == [row.rate.rate]
        assert list(point.get_ydata()) == [place]
        assert list(span.get_xdata()) == [row.rate.low, row.rate.high]
        assert list(losses.get_xdata()) == list(row.losses)
        assert list(levels.get_xdata()) == [r.accuracy for r in row.records if not r.diverged]
        assert words.get_text().startswith(f"{row.rate.successes} of {row.rate.n}")
    assert view.parts[0][0].words.get_text() == "1 of 3, 1 diverged"
    assert [t.get_text() for t in view.rates.get_yticklabels()] == ["K = 1", "noise"]
    low, high = view.levels.get_xlim()
    assert low < 0.7
    assert high > 0.9


def test_before_anything_is_counted_nothing_is_drawn(rows):
    empty = [row._replace(records=[], losses=[]) for row in rows]
    view = CompareView()
    view.lay_out(empty)
    view.update(empty)
    assert all(len(parts[0].point.get_xdata()) == 0 for parts in view.parts)


def test_losses_that_are_no_numbers_do_not_move_the_limits(rows):
    view = CompareView()
    view.lay_out(rows)
    view.update([rows[0]._replace(losses=[math.nan, 1.0]), rows[1]])
    assert all(map(math.isfinite, view.losses.get_xlim()))


def test_the_last_run_is_marked_where_it_has_as_many_rows(rows):
    view = CompareView()
    view.lay_out(rows)
    view.compare([Line("last run", [0, 1], [0.25, 0.5])])
    assert list(view.kept[0].get_xdata()) == [0.25, 0.5]
    assert [t.get_text() for t in view.rates.get_legend().get_texts()] == ["last run"]
    view.compare([Line("another", [0], [0.25])])
    assert len(view.kept[0].get_xdata()) == 0


def test_the_guess_and_the_line_above():
    view = CompareView(large=True)
    view.lay_out([])
    view.guess_at(0.3)
    view.say("crafting")
    assert list(view.guess.get_xdata()) == [0.3, 0.3]
    assert "your guess" in view.rates.get_xlabel()
    assert view.rates.get_title(loc="left") == "crafting"
