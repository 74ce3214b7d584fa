"""``mpkit sweep``: what is drawn, what is pooled, and how it goes on."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import permutations
from pathlib import Path

import pytest

from mpkit.cli import sweep
from mpkit.evaluation.targets import Target
from mpkit.runs import grid, record
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import load_scenario
from mpkit.runs.saved import from_dict, to_dict
from tests.cli.conftest import (
    BY_RULE,
    DRAWN,
    Killed,
    Stand,
    call,
    drawable,
    flags,
    from_flags,
    interrupt,
    lines,
    refused,
    swept,
)


def good(true: str, wanted: str) -> list[int]:
    return [t.index for t in drawable(true, wanted)]


GRID = ["--epsilons", "0.2,0.1,20/255", "--unrolls", "2,1", "--pairs", "4"]


def test_every_cell_of_a_sweep_sees_the_same_pairs_and_each_pair_its_own_seeds(monkeypatch):
    stand = Stand()
    assert swept(monkeypatch, stand, *GRID, "--pairs-seed", "9").code == 0
    names = tuple("0123456789")
    pairs = draw_pairs(names, 4, 9, {pair: good(*pair) for pair in permutations(names, 2)})
    by_cell, seeds = {}, {}
    for a in stand.asked:
        pair = (a.target_class, a.poison_class, a.target_index[0])
        by_cell.setdefault((a.settings.epsilon, a.settings.unroll_steps), []).append(pair)
        seeds.setdefault(pair, set()).add(a.settings.seed)
        # Nothing else differs between two attacks of a sweep.
        same = {"epsilon": 0.1, "unroll_steps": 1, "seed": 0}
        settings = dataclasses.replace(a.settings, **same)
        assert settings == dataclasses.replace(stand.asked[0].settings, **same)
    assert set(by_cell) == {(e, k) for e in (0.2, 0.1, 20 / 255) for k in (2, 1)}
    assert all(found == pairs for found in by_cell.values())
    assert all(len(own) == 1 for own in seeds.values()), "one pair, one seed"
    assert len(set.union(*seeds.values())) == len(pairs), "and no pair another's"


def test_a_sweep_draws_targets_only_and_writes_their_thirds_down(monkeypatch):
    stand = Stand()
    assert swept(monkeypatch, stand, "--pairs", "40").code == 0
    for row in record.read_lines(Path("sweep.jsonl")):
        a, target = from_dict(row["attack"]), Target(**row["target"])
        assert (target.index,) == a.target_index
        assert target in drawable(a.target_class, a.poison_class)
        assert target.third in ("near", "middle", "far")
    assert len(stand.asked) == 40
    refusal = refused("sweep", *flags(**DRAWN), "--pairs", "9999", "--quiet")
    there = sum(len(good(*pair)) for pair in permutations("0123456789", 2))
    assert f"at most {there}, as many as there are" in refusal


def test_a_sweep_of_before_targets_had_margins_goes_on(monkeypatch):
    """It drew among the first of each class, and so does what is left of it."""
    old = draw_pairs(tuple("0123456789"), 12, 9, 7)  # the rarest class has 7 test pictures
    base = from_flags(*flags(epsilon=0.1, unroll_steps=2, **DRAWN))
    attacks = [grid.with_pair(base, pair) for pair in old]
    rows = [{"attack": to_dict(a), "arms": Stand.arms(a)} for a in attacks]
    Path("sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]), "utf-8")
    stand, how = Stand(), ["--epsilons", "0.1", "--unrolls", "2", "--pairs", "12"]
    said = swept(monkeypatch, stand, *how, "--pairs-seed", "9")
    assert stand.asked == attacks[2:]
    assert "no target" in said.out  # margins are not what it drew by
    assert swept(monkeypatch, Stand(0), *how, "--pairs-seed", "9").out == said.out
    # Another draw is no part of it.
    stand = Stand()
    assert swept(monkeypatch, stand, *how, "--pairs-seed", "8").code == 0
    assert all(a.target_index[0] in good(a.target_class, a.poison_class) for a in stand.asked)


def test_every_target_of_a_sweep_is_there(monkeypatch):
    stand, few = Stand(), ["--classes", "1,2", "--n-test", "30", "--pairs", "12"]
    assert swept(monkeypatch, stand, *few).code == 0
    for attack in stand.asked:
        load_scenario(attack)  # raises where the class has no such test image
    assert len({a.target_index for a in stand.asked}) > 1


def test_a_sweep_names_the_bounds_that_act(monkeypatch):
    way = ["--perturbation", "recolor", "--epsilon-c", "0.1", "--unrolls", "2"]
    heads = [s for s in swept(monkeypatch, Stand(), *way).out.splitlines() if s[0] != " "]
    assert heads == ["ε_c = 0.1, K = 2:"]


def test_the_rates_of_a_sweep_are_pooled(monkeypatch):
    stand = Stand()
    said = swept(monkeypatch, stand, *GRID)
    table = said.out.splitlines()
    heads = [line for line in table if not line.startswith(" ")]
    cells = sorted({(a.settings.epsilon, a.settings.unroll_steps) for a in stand.asked})
    assert heads == [f"ε = {255 * e:g}/255, K = {k}:" for e, k in cells]
    assert len(table) == len(cells) * 14
    table = [line for i, line in enumerate(table) if i % 14 < 10]  # the thirds are below
    for i, cell in enumerate(cells):
        mine = [
            Stand.arms(a) for a in stand.asked
            if (a.settings.epsilon, a.settings.unroll_steps) == cell
        ]  # fmt: skip
        for j, arm in enumerate(("poisoned", "clean", "noise"), 1):
            targets, victims, more = table[10 * i + 3 * j - 2 : 10 * i + 3 * j + 1]
            counts = [arms[arm]["success"]["successes"] for arms in mine]
            fell, won = sum(k > 2 for k in counts), sum(counts)
            accuracy = sum(arms[arm]["accuracy"] for arms in mine) / 4
            assert targets.startswith(f"  {arm:<9} targets that fell {fell}/4 = {fell / 4:.0%} (95")
            assert victims.startswith(
                f"            victims {won}/16 = {won / 16:.0%} (95 % interval "
            )
            assert victims.endswith(f"), accuracy {accuracy:.1%}")
            # As by an earlier mpkit: what it did not write down is not made up.
            assert more.endswith("not recorded: whether it holds, accuracy by class, probabilities")


def test_a_value_given_twice_counts_once(monkeypatch):
    once, twice = Stand(), Stand()
    values = ["--epsilons", "0.1,0.2", "--unrolls", "3", "--out", "1.jsonl"]
    again = ["--epsilons", "0.1,0.2,0.1", "--unrolls", "3,3", "--out", "2.jsonl"]
    first = swept(monkeypatch, once, *values)
    assert swept(monkeypatch, twice, *again).out == first.out
    assert once.asked == twice.asked


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 7, 23])
def test_a_sweep_that_was_killed_goes_on_where_it_was(stop, half, monkeypatch):
    whole = Stand()
    wanted = swept(monkeypatch, whole, *GRID, "--out", "whole.jsonl").out
    first, second, third = Stand(stop), Stand(), Stand(0)
    with pytest.raises(Killed):
        swept(monkeypatch, first, *GRID)
    if half:
        with open("sweep.jsonl", "ab") as file:
            file.write(Path("whole.jsonl").read_bytes().splitlines()[stop][:40])
    assert swept(monkeypatch, second, *GRID).out == wanted
    assert first.asked + second.asked == whole.asked
    assert Path("sweep.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert swept(monkeypatch, third, *GRID).out == wanted  # nothing is left to do


def test_a_sweep_that_does_not_name_its_data_is_of_the_digits(monkeypatch):
    first, second, third = Stand(), Stand(0), Stand()
    wanted = swept(monkeypatch, first, "--pairs", "3").out
    rows = record.read_lines(Path("sweep.jsonl"))  # as before checksums
    for row in rows:
        assert row["attack"].pop("data") == "digits"
    Path("sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert swept(monkeypatch, second, "--pairs", "3").out == wanted
    monkeypatch.setattr(sweep, "_measure", third)
    signs = flags(data="signs", epsilon=None, unroll_steps=None, **DRAWN | {"noise": None})
    assert call("sweep", *signs, "--quiet", "--workers", "1", "--pairs", "3").code == 0
    assert [a.data for a in third.asked] == ["signs"] * 3


def test_a_sweep_of_before_a_setting_existed_goes_on(monkeypatch):
    first, second = Stand(), Stand(0)
    wanted = swept(monkeypatch, first, "--pairs", "3").out
    rows = record.read_lines(Path("sweep.jsonl"))  # as before checksums
    for row in rows:
        del row["attack"]["settings"]["compute"], row["attack"]["difficulty"]
    Path("sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert swept(monkeypatch, second, "--pairs", "3").out == wanted


def test_a_sweep_may_grow(monkeypatch):
    first, second = Stand(), Stand()
    assert swept(monkeypatch, first, "--pairs", "2", "--epsilons", "0.1").code == 0
    assert swept(monkeypatch, second, "--pairs", "3", "--epsilons", "0.1,0.2").code == 0
    assert not set(first.asked) & set(second.asked)
    assert len(second.asked) == 3 * 2 - 2


def test_control_c_in_a_sweep(monkeypatch):
    said = swept(monkeypatch, Stand(2, KeyboardInterrupt), *GRID)
    assert (said.code, said.out) == (130, "")
    assert said.err == "\nStopped; sweep.jsonl keeps what is done. Give the same command again.\n"
    assert lines("sweep.jsonl") == 2


def test_control_c_while_a_sweep_is_loading(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(grid, "load_scenario", interrupt)
        said = swept(monkeypatch, Stand(), *GRID)
        assert (said.code, said.err) == (130, "\nStopped before any result was recorded.\n")
    assert swept(monkeypatch, Stand(), "--pairs", "1").code == 0
    monkeypatch.setattr(grid, "load_scenario", interrupt)
    said = swept(monkeypatch, Stand(), *GRID)
    assert "sweep.jsonl keeps what is done" in said.err
    assert lines("sweep.jsonl") == 1


def test_a_sweep_measures_what_an_attack_does():
    how = flags(epsilon=0.1, unroll_steps=None, **DRAWN)
    said = call("sweep", *how, "--unrolls", "2", "--pairs", "1", "--pairs-seed", "4")
    assert said.code == 0
    assert re.search("^sweep attack 1 of 1$", said.err, re.MULTILINE)
    (row,) = record.read_lines(Path("sweep.jsonl"))
    a = from_dict(row["attack"])
    pair = {"target_class": a.target_class, "poison_class": a.poison_class}
    own = {"target_index": a.target_index[0], "seed": a.settings.seed}
    how = flags(epsilon=0.1, **pair, **BY_RULE | own, out="run")
    assert call("attack", *how, "--quiet").code == 0
    assert record.read_json(Path("run/summary.json"))["arms"] == row["arms"]
    assert row["attack"] == record.read_json(Path("run/settings.json"))["attack"]


def test_a_sweep_of_defended_victims_counts_every_arm():
    how = flags(epsilon=0.1, unroll_steps=None, **DRAWN, defense="jpeg")
    said = call("sweep", *how, "--pairs", "1", "--pairs-seed", "4", "--quiet")
    assert said.code == 0
    (row,) = record.read_lines(Path("sweep.jsonl"))
    assert list(row["arms"]) == ["poisoned", "clean", "noise"]
    assert row["attack"]["defense"]["defense"] == "jpeg"


def test_a_whole_one_over_processes_is_that_of_one(forked):
    usual = flags(epsilon=None, unroll_steps=None, **DRAWN)
    found = {}
    for workers in ("1", "2"):
        out = ["--out", f"{workers}.jsonl", "--workers", workers]
        said = call("sweep", *usual, "--pairs", "2", "--unrolls", "1,2", *out)
        assert said.code == 0, said.err
        rows = record.read_lines(Path(f"{workers}.jsonl"))
        found[workers] = said.out, sorted(json.dumps(row, sort_keys=True) for row in rows)
    assert found["1"] == found["2"]
