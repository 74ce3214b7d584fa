"""VictimsLab's picture: a dot a victim, the share with its interval, what it costs."""

from __future__ import annotations

import dataclasses

import pytest

from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import ARMS, VictimRecord, silent
from mpkit.lab.kit.canvas import new_figure
from mpkit.lab.kit.tools import Line
from mpkit.lab.victims_view import CountsView
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import small_attack


def victim(arm: str, number: int, wanted: float, accuracy: float = 0.9) -> VictimRecord:
    won = wanted > 0.5
    return VictimRecord(arm, number, (1,), (won,), (wanted,), (1 - wanted,), accuracy, held=(0.4,))


@pytest.fixture
def records():
    return [victim(arm, v, p) for arm in ARMS for v, p in enumerate((0.9, 0.2))]


def made(**given) -> CountsView:
    scenario = load_scenario(small_attack(**given), progress=False)
    return CountsView(new_figure(9, 5), scenario, 3)


def test_every_victim_is_a_dot_at_its_probability_in_the_row_of_its_arm(records):
    view = made()
    view.update(records, [0.3, 0.7])
    for row, arm in enumerate(ARMS):
        places = view.clouds[arm].get_offsets().tolist()
        assert [x for x, _ in places] == pytest.approx([0.9, 0.2])
        assert all(round(y) == row for _, y in places)
        found = rate(1, 2)
        assert list(view.rows[arm].point.get_xdata()) == [found.rate]
        assert list(view.spans[arm].get_xdata()) == [found.low, found.high]
        assert view.rows[arm].words.get_text() == "1 of 2"
        assert view.levels[arm].get_offsets().tolist()[0][0] == pytest.approx(0.9)
    assert [bar.get_width() for bar in view.bars.bars] == pytest.approx([0.3, 0.7])
    assert "held 1.2 of the last 3 epochs" in view.dots.get_xlabel()


def test_those_in_training_are_hollow_and_not_counted(records):
    view = made()
    view.update(records[::2], [0.3, 0.7], records[1::2])
    assert view.training["poisoned"].get_offsets()[:, 0].tolist() == pytest.approx([0.2])
    assert view.rows["poisoned"].words.get_text() == "1 of 1"
    assert view.dots.get_xlabel().endswith("; hollow: in training")
    view.update(records, [0.3, 0.7])
    assert "hollow" not in view.dots.get_xlabel()
    assert len(view.training["poisoned"].get_offsets()) == 0


def test_a_victim_that_diverged_has_no_dot_and_is_counted(records):
    view = made()
    view.update([silent(records[0]), *records[1:]], [0, 0])
    assert len(view.clouds["poisoned"].get_offsets()) == 1
    assert view.rows["poisoned"].words.get_text() == "0 of 2, 1 diverged"


def test_where_all_diverged_there_is_no_dot_and_no_error(records):
    view = made()
    view.update([silent(r) for r in records], [0, 0])
    assert len(view.clouds["poisoned"].get_offsets()) == 0
    assert view.rows["clean"].words.get_text() == "0 of 2, 2 diverged"


def test_other_statistics_are_told_under_the_dots(records):
    other = dataclasses.replace(records[1], statistics="batch")
    mine = dataclasses.replace(records[0], statistics="running", other_statistics=other)
    view = made()
    view.update([mine, *records[1:]], [0, 1])
    assert view.dots.get_xlabel().endswith("; batch statistics: 0 of 1")


def test_who_hides_is_counted_by_the_true_class(records):
    view = made(goal="self-concealment", poison_class=None)
    assert view.wish.wanted == f"anything but {view.true}"
    assert view.probability(records[0]) == pytest.approx(0.9)


def test_runs_before_are_marks_with_names():
    view = made()
    view.compare([Line("last run", [4], [0.25])])
    assert list(view.kept[0].get_xdata()) == [0.25]
    assert [t.get_text() for t in view.rates.get_legend().get_texts()] == ["last run: 25% of 4"]


def test_the_guess_and_the_line_above():
    view = made()
    view.guess(0.5, "your guess: 2 of 4")
    view.say("crafting first")
    assert list(view.line.get_xdata()) == [0.5, 0.5]
    assert view.rates.get_title(loc="left") == "your guess: 2 of 4"
    assert view.dots.get_title(loc="left") == "crafting first"
