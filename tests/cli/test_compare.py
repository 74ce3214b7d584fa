"""``mpkit compare``: what is compared, how it goes on, and what it writes."""

from __future__ import annotations

import csv
import json
import random
import shlex
from pathlib import Path

import pytest
from PIL import Image

from mpkit.cli import compare
from mpkit.runs import grid, record
from mpkit.runs.comparison import trial_of
from mpkit.runs.saved import to_dict
from tests.cli.conftest import DRAWN, Killed, call, flags, interrupt, lines, refused

HOW = ["--pairs", "3", "--methods", "metapoison", "--defenses", "jpeg,loss", "--workers", "1"]


class Stand:
    """In the place of `measured`: made-up rows, and a note of what was asked for."""

    def __init__(self, stop: int | None = None, error: type = Killed, failing: str = ""):
        self.asked, self.stop, self.error, self.failing = [], stop, error, failing

    def __call__(self, group, plan=None):
        for trial in group:
            if len(self.asked) == self.stop:
                raise self.error
            self.asked.append(trial)
            yield self.row(trial)

    def row(self, trial) -> dict:
        draw, defense = random.Random(trial.key), trial.attack.defense.defense
        found = {"arm": trial.arm, "attack": to_dict(trial.attack)}
        if defense == self.failing:
            return found | {"failed": "it has no use for this network"}
        success = {"successes": draw.randint(0, 4), "n": 4, "low": 0, "high": 1}
        told = {"success": success, "accuracy": draw.random(), "diverged": 0}
        if defense == "loss":
            found["screening"] = {"poisons": 6, "caught": 3, "innocents": 54, "lost": 2}
        return found | {"tally": told, "seconds": 1.0}


def compared(monkeypatch, stand: Stand, *arguments: str):
    monkeypatch.setattr(compare, "measured", stand)
    return call("compare", *flags(**DRAWN), "--quiet", *HOW, *arguments)


def test_every_cell_sees_the_same_targets_and_lines_are_kept(monkeypatch):
    stand = Stand()
    said = compared(monkeypatch, stand)
    assert said.code == 0
    by_cell = {}
    for trial in stand.asked:
        a = trial.attack
        pair = a.target_class, a.poison_class, a.target_index, a.settings.seed
        by_cell.setdefault((trial.arm, a.defense.defense), []).append(pair)
    assert set(by_cell) == {(a, d) for a in ("poisoned", "clean") for d in ("none", "jpeg", "loss")}
    assert len({tuple(pairs) for pairs in by_cell.values()}) == 1
    assert len(set(by_cell["poisoned", "none"])) == 3
    rows = record.read_lines(Path("compare.jsonl"))
    assert [trial_of(row).key for row in rows] == [trial.key for trial in stand.asked]


def test_what_it_writes_is_what_it_says(monkeypatch):
    said = compared(monkeypatch, Stand())
    with open("compare.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads(Path("compare.json").read_text("utf-8"))
    assert (told["pairs"], told["pairs_seed"]) == (3, 1)
    assert told["asked"]["size"] == 10
    assert told["where"].startswith("mpkit compare on digits: 3 targets drawn by seed 1, 1 victim")
    assert "torch" in told["versions"]
    assert [r["defense"] for r in rows] == ["none", "jpeg", "loss"]
    for row, entry, line in zip(rows, told["entries"], said.out.splitlines()[2:], strict=True):
        assert row.keys() == entry.keys()
        assert {k: v for k, v in row.items() if v} == {
            k: str(v) for k, v in entry.items() if v is not None
        }
        assert line.split()[:2] == ["metapoison", row["defense"]]
        assert f"{row['turned_successes']}/12 = " in line
    assert said.out.splitlines()[-1].endswith("50% of poisons, 4% of others, of clean pictures 4%")
    with Image.open("compare.png") as png:
        png.verify()


def test_clean_victims_may_train_on_fewer_targets(monkeypatch):
    stand = Stand()
    said = compared(monkeypatch, stand, "--clean-pairs", "1")
    clean = [t.attack.defense.defense for t in stand.asked if t.arm == "clean"]
    assert (len(stand.asked), clean) == (12, ["none", "jpeg", "loss"])
    assert " (0% to 100%)" in said.out  # the accuracy of clean victims on one target
    more = Stand()
    assert compared(monkeypatch, more).code == 0
    assert [t.arm for t in more.asked] == ["clean"] * 6
    assert "–" in compared(monkeypatch, Stand(0), "--clean-pairs", "0").out


def test_every_bound_has_its_table(monkeypatch):
    stand = Stand()
    said = compared(monkeypatch, stand, "--epsilons", "8/255,26/255", "--budgets", "0.05,0.1")
    assert len(stand.asked) == 3 * (3 + 2 * 2 * 3)
    heads = [line for line in said.out.splitlines() if "poisoned" in line]
    assert [h.partition(", ")[2] for h in heads] == [
        f"{share}% poisoned, ε = {e}/255, 3 targets:" for share in ("5.0", "10.0") for e in (8, 26)
    ]
    with Image.open("compare.png") as png:
        assert png.height > 4 * 400
    with open("compare.csv", encoding="utf-8", newline="") as file:
        assert len({(r["budget"], r["epsilon"]) for r in csv.DictReader(file)}) == 4


@pytest.mark.parametrize("stop", [0, 1, 4, 17])
def test_one_that_was_killed_goes_on_where_it_was(stop, monkeypatch):
    whole = Stand()
    wanted = compared(monkeypatch, whole, "--out", "whole.jsonl")
    first, second = Stand(stop), Stand()
    with pytest.raises(Killed):
        compared(monkeypatch, first)
    assert lines("compare.jsonl") == stop
    said = compared(monkeypatch, second)
    assert said.out == wanted.out
    asked = [trial.key for trial in (*first.asked, *second.asked)]
    assert sorted(asked) == sorted(trial.key for trial in whole.asked)
    assert Path("whole.csv").read_bytes() == Path("compare.csv").read_bytes()
    assert compared(monkeypatch, Stand(0)).out == wanted.out
    # Other flags are other results, beside these.
    third = Stand()
    assert compared(monkeypatch, third, "--jpeg-quality", "20").code == 0
    assert {trial.attack.defense.defense for trial in third.asked} == {"none", "jpeg", "loss"}


def test_control_c_keeps_what_is_done(monkeypatch):
    said = compared(monkeypatch, Stand(2, KeyboardInterrupt))
    assert (said.code, said.out) == (130, "")
    assert "compare.jsonl keeps what is done. Give the same command again." in said.err
    assert lines("compare.jsonl") == 2
    monkeypatch.setattr(grid, "load_scenario", interrupt)
    assert compared(monkeypatch, Stand(), "--out", "other.jsonl").code == 130


def test_what_fails_is_named_and_tried_again(monkeypatch):
    said = compared(monkeypatch, Stand(failing="jpeg"))
    assert said.code == 2
    assert said.err.count("mpkit: missing: metapoison under jpeg") == 2  # and its clean victims
    assert "it has no use for this network" in said.err
    assert "jpeg" not in said.out
    again = Stand()
    assert compared(monkeypatch, again).code == 0
    assert {t.attack.defense.defense for t in again.asked} == {"jpeg"}


def test_without_matplotlib_there_is_a_table(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mpkit.cli.compare_picture", None)
    said = compared(monkeypatch, Stand())
    assert (said.code, Path("compare.png").exists()) == (0, False)
    assert "pip install 'mpkit[notebooks]'" in said.err
    assert Path("compare.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--defenses prayer", "--defenses 'prayer' is unknown; there are: all, none"),
        ("--methods luck", "--methods 'luck' is unknown"),
        ("--methods ''", "--methods wants one name or more"),
        ("--fine-tunes some", "--fine-tunes 'some' is unknown"),
        ("--budgets 0.1,2", "budget must"),
        ("--budgets 0.5", "of the 60"),
        ("--epsilons 8/255,2", "epsilon must"),
        ("--epsilon 8/255 --epsilons 4/255", "name it in --epsilons"),
        ("--defense jpeg", "name it in --defenses"),
        ("--target-class 3", "leave out --target-class"),
        ("--defenses none --suspected 0.2", "--suspected does nothing with --defense none"),
        ("--pairs 0", "pairs must be at least 1"),
        ("--workers 0", "workers must be at least 1"),
        ("--clean-pairs -1", "clean_pairs must be at least 0, not -1"),
        ("--out x.csv", "call it .jsonl"),
        ("--out nowhere/x.jsonl", "name another --out"),
        ("--out sweep.jsonl", "no results of a comparison"),
    ],
)
def test_bad_comparisons_get_one_clear_line_before_the_work(arguments, words, monkeypatch):
    Path("sweep.jsonl").write_text('{"arms": {}, "attack": {}}\n')
    monkeypatch.setattr(compare, "measured", Stand(0))
    line = refused("compare", *flags(**DRAWN), "--quiet", *HOW, *shlex.split(arguments))
    assert words in line
    assert not lines("compare.jsonl")


def test_a_whole_one_over_processes(forked):
    how = ["--pairs", "1", "--methods", "metapoison", "--defenses", "loss", "--workers", "2"]
    said = call("compare", *flags(**DRAWN), *how)
    assert said.code == 0, said.err
    assert "compare result 4 of 4" in said.err
    assert len(said.out.splitlines()) == 4
    rows = record.read_lines(Path("compare.jsonl"))
    assert sorted(r["arm"] for r in rows) == ["clean", "clean", "poisoned", "poisoned"]
