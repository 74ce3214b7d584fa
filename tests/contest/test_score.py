"""Points: simple sums of the table, by hand."""

from __future__ import annotations

import pytest

from mpkit.contest.contest import open_contest
from mpkit.contest.score import scores, table_of
from mpkit.evaluation.rates import clustered_rate
from tests.contest.conftest import BLUE, RED, write


def cell(red, blue, target, successes, accuracy=0.9):
    found = {"red": red, "blue": blue, "target": target, "successes": successes, "n": 4}
    return found | {"accuracy": accuracy}


ROWS = [
    {"red": "Foxes", "target": 0, "seconds": 1.0},
    *(cell(None, None, t, 0, 0.94) for t in (0, 1)),
    *(cell(None, "Hedgehogs", t, 0, 0.90) for t in (0, 1)),
    *(cell(None, "Bears", t, 0, 0.93) for t in (0, 1)),
    *(cell("Foxes", None, t, 4) for t in (0, 1)),
    *(cell("Foxes", "Hedgehogs", t, k) for t, k in ((0, 0), (1, 1))),
    *(cell("Foxes", "Bears", t, k) for t, k in ((0, 4), (1, 3))),
]


@pytest.fixture
def contest(folder):
    write(folder, "bears", BLUE | {"team": "Bears"})
    return open_contest(folder)


def test_the_table_has_each_pair():
    table = table_of(ROWS)
    assert len(table) == 6
    assert table["Foxes", "Bears"].counts == {0: (4, 4), 1: (3, 4)}
    assert table["Foxes", "Bears"].rate == clustered_rate([4, 3], [4, 4])
    assert table[None, "Hedgehogs"].accuracy == pytest.approx(0.90)


def test_points_are_what_the_rules_say(contest):
    red, bears, hedgehogs = sorted(scores(contest, ROWS), key=lambda s: (s.side == "blue", s.team))
    # Red: 0 + 1 + 4 + 3 of 16 victims; the undefended ones count only where nobody defends.
    assert red.points == pytest.approx(100 * 8 / 16)
    assert red.rate == clustered_rate([4, 4], [8, 8])
    # Blue: what held, less the price beyond two points.
    assert hedgehogs.price == pytest.approx(0.04)
    assert hedgehogs.points == pytest.approx(100 * (1 - 1 / 8 - 0.02))
    assert bears.price == pytest.approx(0.01)
    assert bears.points == pytest.approx(100 * (1 - 7 / 8))
    assert hedgehogs.low < hedgehogs.points < hedgehogs.high
    order = [s.team for s in scores(contest, ROWS)]
    assert order == ["Foxes", "Hedgehogs", "Bears"]


def test_without_a_blue_team_red_is_counted_without_a_defense(contest):
    (red,) = (s for s in scores(contest, [r for r in ROWS if not r.get("blue")]) if s.side == "red")
    assert red.points == 100


def test_a_lost_round_has_no_points_and_counts_for_nobody_else(contest):
    lost = [*ROWS, {"blue": "Bears", "lost": "it took longer"}]
    by_team = {s.team: s for s in scores(contest, lost)}
    assert by_team["Bears"].points == 0
    assert str(by_team["Bears"]) == "lost its round: it took longer"
    assert by_team["Foxes"].points == pytest.approx(100 * 1 / 8)
    lost = [*ROWS, {"red": "Foxes", "lost": "it failed"}]
    by_team = {s.team: s for s in scores(contest, lost)}
    assert by_team["Foxes"].points == 0
    assert by_team["Bears"].points is None
    assert str(by_team["Bears"]) == "nobody to meet"


def test_a_useless_model_is_no_defense(contest):
    rows = [r | {"accuracy": 0.1} if r.get("blue") == "Hedgehogs" else r for r in ROWS]
    (found,) = (s for s in scores(contest, rows) if s.team == "Hedgehogs")
    assert found.points == pytest.approx(100 * (1 - 1 / 8 - 0.82))


def test_before_anything_was_counted_nobody_has_points(contest):
    assert all(s.points is None for s in scores(contest, []))
    assert RED["team"] in {s.team for s in scores(contest, [])}
