"""ContestBoard: the points of every team and the table of pairs, as they come."""

from __future__ import annotations

import pytest

from mpkit.contest.contest import open_contest
from mpkit.contest.score import scores
from mpkit.lab import ContestBoard
from tests.contest.conftest import LIMITS, RED, folder, here, write
from tests.lab.conftest import finished, said

__all__ = ["folder", "here"]  # fixtures


def test_it_plays_the_round_and_says_what_came_of_it(folder, here, until):
    write(folder, "wolves", RED | {"team": "Wolves", "attack": {"epsilon": 1}})
    board = ContestBoard(folder, draw=5)
    assert "wolves.json is refused: epsilon 1 is over the limit" in said(board)
    assert "Nothing has been counted yet" in board.describe()
    finished(board, until)
    assert board.runner.steps == board.total() == 10
    found = open_contest(folder)
    expected = scores(found, found.results())
    assert board.scores() == expected
    assert all(f"{s.team} ({s.side}): {s}" in board.describe() for s in expected)
    (axes,) = board.figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Foxes (red)", "Hedgehogs (blue)"]
    assert [line.get_xdata()[0] for line in axes.lines[1::2]] == [s.points for s in expected]
    assert "no defense" in board.pairs.value
    assert "accuracy" in board.pairs.value
    assert (folder / "report.html").exists()


def test_after_a_reset_nothing_is_computed_again(folder, here, until, monkeypatch):
    board = ContestBoard(folder, draw=5)
    finished(board, until)
    first = board.describe()
    board.transport.buttons["reset"].click()
    assert "Nothing has been counted yet" in board.describe()
    monkeypatch.setattr("mpkit.contest.contest.answers", None)
    finished(board, until)
    assert board.describe() == first


def test_a_lost_round_is_said_in_words(folder, here, until):
    write(folder, "limits", LIMITS | {"judge_seconds": 1e-6})
    board = ContestBoard(folder, draw=5)
    finished(board, until)
    assert "Hedgehogs (blue): lost its round: it took more than" in board.describe()
    (axes,) = board.figure.axes
    assert "lost its round" in [t.get_text() for t in axes.texts]


def test_without_a_team_there_is_no_board(folder):
    for path in (folder / "submissions").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="no submission within its limits"):
        ContestBoard(folder)
