"""``mpkit contest``: a whole round, each team in a process of its own."""

from __future__ import annotations

import csv

import pytest

from mpkit.cli import contest as command
from mpkit.contest.contest import open_contest
from tests.cli.conftest import call, refused
from tests.contest.conftest import BLUE, LIMITS, RED, write


@pytest.fixture
def folder(tmp_path):
    """A team that attacks, one over its limits, and one that takes too long."""
    write(tmp_path, "limits", LIMITS | {"targets": 1, "craft_seconds": 5})
    write(tmp_path, "foxes", RED)
    write(tmp_path, "wolves", RED | {"team": "Wolves", "attack": {"epsilon": "27/255"}})
    write(tmp_path, "snails", RED | {"team": "Snails", "attack": {"craft_steps": 100_000}})
    return tmp_path


def test_a_round_with_one_over_its_limits_and_one_that_runs_too_long(folder):
    said = call("contest", folder, "--draw", 5)
    assert said.code == 0, said
    assert "wolves.json is refused: epsilon 0.1059 is over the limit" in said.err
    assert "Snails: lost its round: it took more than the 5 seconds" in said.out
    assert "points (95 % interval" in said.out.splitlines()[0]
    contest = open_contest(folder)
    judged = [r for r in contest.results() if "n" in r]
    assert {r["red"] for r in judged} == {None, "Foxes"}
    sheet = list(csv.reader((folder / "marking.csv").read_text("utf-8-sig").splitlines()))
    assert {row[0] for row in sheet[1:]} == {"Foxes", "Snails", "wolves.json"}
    before = (folder / "results.jsonl").read_bytes()
    assert call("contest", folder, "--quiet").code == 0  # nothing is left to do
    assert (folder / "results.jsonl").read_bytes() == before
    said = call("contest", folder, "--draw", 6)
    assert said.code == 2
    assert "drawn before, by seed 5" in said.err


def test_what_is_refused_can_be_asked_before_the_draw(folder):
    write(folder, "hedgehogs", BLUE)
    said = call("contest", folder, "--check")
    assert said.code == 0
    assert "blue  Hedgehogs: jpeg, jpeg_quality 30" in said.out
    assert "wolves.json is refused" in said.err
    assert not (folder / "round.json").exists()


def test_a_folder_that_is_no_contest_is_refused(tmp_path):
    assert "is no contest: it has no limits.json" in refused("contest", tmp_path)
    assert "has no submission to play with" in refused("contest", made(tmp_path))


def made(folder):
    write(folder, "limits", LIMITS)
    return folder


def test_ctrl_c_keeps_what_is_done(folder, monkeypatch):
    def interrupted(contest):
        yield {"red": "Foxes", "target": 0, "seconds": 1.0}
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "play", interrupted)
    said = call("contest", folder)
    assert said.code == 130
    assert "Give the same command again" in said.err
