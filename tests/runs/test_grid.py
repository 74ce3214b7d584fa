"""Attacks on drawn targets, and the file in which each has a line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from mpkit.runs import record
from mpkit.runs.attack import make_attack
from mpkit.runs.grid import drawable, key_of, rows_by_key, with_pair
from mpkit.runs.record import RecordError
from mpkit.runs.saved import from_dict, to_dict

LEARNT = {"data": "digits", "n_train": 60, "n_test": 60, "size": 10, "noise": 0, "lr": 0.2}


def test_what_can_be_drawn_are_targets_of_every_two_classes():
    there = drawable(make_attack("ci", **LEARNT, classes=("1", "2", "7")), progress=False)
    assert set(there.indices) == {(a, b) for a in there.names for b in there.names if a != b}
    for pair, some in there.indices.items():
        for index in some:
            assert there.target((*pair, index)).third
    assert any(there.indices.values())


def test_each_pair_has_a_seed_of_its_own():
    base = make_attack("ci", data="digits")
    one, two = (with_pair(base, ("1", "7", i)) for i in (0, 1))
    assert (one.target_class, one.poison_class, one.target_index) == ("1", "7", (0,))
    assert len({one.settings.seed, two.settings.seed, base.settings.seed}) == 3
    assert with_pair(base, ("1", "7", 0)) == one
    assert key_of(one) == key_of(with_pair(base, ("1", "7", 0))) != key_of(two)


def test_rows_are_found_again_also_those_of_before_there_were_defenses(tmp_path: Path):
    out, attack = tmp_path / "some.jsonl", make_attack("ci", data="digits")
    old = to_dict(attack)
    del old["defense"]
    defended = dataclasses.replace(attack, defense=make_attack(defense="jpeg").defense)
    record.append(out, [{"attack": old}, {"attack": to_dict(defended)}])
    found = rows_by_key(out, lambda row: key_of(from_dict(row["attack"])), "a sweep")
    assert list(found) == [key_of(attack), key_of(defended)]


@pytest.mark.parametrize("row", [{"other": 1}, {"attack": {}}, {"attack": 3}])
def test_rows_of_something_else_are_refused(row, tmp_path: Path):
    out = tmp_path / "some.jsonl"
    out.write_text(json.dumps(row) + "\n")
    with pytest.raises(RecordError, match="no results of a sweep"):
        rows_by_key(out, lambda row: key_of(from_dict(row["attack"])), "a sweep")
