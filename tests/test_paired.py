"""The studies behind chapters 05 and 06: the same attacks as ``mpkit sweep``, target by target."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import paired

from mpkit import make_attack
from mpkit.__main__ import main
from mpkit.cli.options import add_attack_flags, attack_from
from mpkit.course.recorded import TABLES
from mpkit.ensemble import Ensemble
from mpkit.recipe import Recipe

TINY = {"data": "signs", "fine_tune": "no", "n_train": 60, "n_test": 60, "epochs": 6, "batch": 20,
        "craft_steps": 2, "unroll_steps": 1, "models": 1, "victims": 2}  # fmt: skip
ARMS = {"usual": {}, "other victims": {"victim_lr": 0.05}, "old": {"window": (4, 6)}}


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> Path:
    monkeypatch.setitem(paired.STUDIES, "ages", (TINY, ARMS))
    return tmp_path / "tiny.jsonl"


def run(out: Path, *given: str) -> None:
    paired.main(["ages", "--out", str(out), "--pairs", "2", "--pairs-seed", "3", *given])


def test_a_study_goes_on_where_it_was_stopped_and_finds_what_the_sweep_finds(tiny, capsys):
    run(tiny)
    rows = tiny.read_text("utf-8").splitlines()
    assert len(rows) == 2 * len(ARMS)
    tiny.write_text("\n".join(rows[:2]) + "\n", "utf-8")
    capsys.readouterr()
    run(tiny)
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(ARMS) - 2
    again = [json.loads(row) for row in tiny.read_text("utf-8").splitlines()]
    assert [row["arms"] for row in again] == [json.loads(row)["arms"] for row in rows]
    run(tiny, "--table")
    found = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in found["rows"]] == list(ARMS)
    swept = tiny.with_name("swept.jsonl")
    *_, command = found["command"].split("mpkit ")
    assert main([*shlex.split(command), "--data", "signs", "--out", str(swept), "--quiet"]) == 0
    mine = [json.loads(row) for row in swept.read_text("utf-8").splitlines()]
    met = [again[0]["target"], again[len(ARMS)]["target"]]
    mine.sort(key=lambda row: met.index(row["target"]))  # who was done first came first
    each = [row["arms"]["poisoned"]["success"]["successes"] for row in mine]
    assert each == found["rows"][0]["each"]
    assert [row["arms"] for row in mine] == [again[0]["arms"], again[len(ARMS)]["arms"]]


def test_other_pictures_are_named_and_have_a_file_of_their_own(tiny, capsys):
    run(tiny)
    with pytest.raises(SystemExit, match=r"results of signs, not of digits: name another --out"):
        run(tiny, "--data", "digits")
    other = tiny.with_name("digits.jsonl")
    run(other, "--data", "digits")
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"results of digits, not of signs"):
        run(other, "--table")
    run(other, "--data", "digits", "--table")
    assert " --data digits " in json.loads(capsys.readouterr().out)["command"]


@pytest.mark.parametrize("name", paired.STUDIES)
def test_flags_say_what_was_done(name):
    base, arms = paired.STUDIES[name]
    parser = argparse.ArgumentParser()
    add_attack_flags(parser)
    for change in arms.values():
        said = attack_from(parser.parse_args(shlex.split(paired.flags(base | change))))
        assert said == make_attack(**paired.numbers(base | change))


def test_surrogates_of_a_window_have_its_ages_only():
    for low, high in ((0, 7), (13, 20)):
        aged = paired.Aged(3, Recipe(epochs=20), 0, window=(low, high))
        ages = [age for step in range(25) for age in aged.ages(step)]
        assert set(ages) == set(range(low, high))
    usual, whole = (
        Ensemble(3, Recipe(epochs=20), 5),
        paired.Aged(3, Recipe(epochs=20), 5, window=(0, 20)),
    )
    for step in range(45):
        assert (usual.ages(step), usual.seeds(step)) == (whole.ages(step), whole.seeds(step))


def test_a_new_surrogate_of_a_window_is_trained_to_its_first_age(tiny):
    """As an ensemble starts one of that age and seed."""
    from mpkit import prepare
    from mpkit.metapoison import crafting

    ready = prepare(make_attack(**TINY, target_index=0), progress=False)
    run = crafting(ready.scenario, ready.network, ready.attack.settings)
    aged = paired.Aged(1, ready.attack.settings.recipe, 0, window=(4, 6))
    first = aged.start(run.module, run.sight, run.plan)
    assert aged.ages(2) == aged.ages(0) == [4]
    later = aged.reinitialised(run.module, first, 2)
    assert aged.seeds(2) != aged.seeds(0)
    moved = {k: (later.params[k] - first.params[k]).abs().max() for k in first.params}
    assert all(m > 0 for m in moved.values())
    object.__setattr__(aged, "seeds", lambda step: Ensemble.seeds(aged, 0))
    assert all(
        (aged.reinitialised(run.module, later, 2).params[k] - first.params[k]).abs().max() < 1e-6
        for k in first.params
    )


@pytest.mark.parametrize("name", ["ages", "budget", "dose", "survey", "recipes"])
def test_recorded_tables_are_those_of_the_studies(name):
    base, arms = paired.STUDIES[name]
    table, own = TABLES[name], {k: v for k, v in base.items() if k != "data"}
    assert table.command.startswith(f"mpkit sweep {paired.flags(own)} --pairs ".replace("  ", " "))
    labels = [row.label for row in table.results]
    assert labels[: len(arms)] == list(arms)
    assert [row.flags for row in table.results[: len(arms)]] == [*map(paired.flags, arms.values())]
