"""The benchmark of methods at equal wall time: what is finished by then, and that it runs."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import equal_time

from mpkit import make_attack, poisons_of, prepare
from mpkit.runs.pairs import draw_pairs

SIGNS = ("stop", "give way", "danger", "no entry", "no left turn", "speed 50")


@pytest.fixture
def ticking(monkeypatch):
    """Each look at the clock takes a second."""
    clock = itertools.count()
    monkeypatch.setattr(equal_time, "time", SimpleNamespace(perf_counter=lambda: next(clock)))


def test_what_counts_is_finished_by_then(ticking):
    given = {"data": "signs", "fine_tune": "no", "target_index": 0, "n_train": 60, "n_test": 20}
    ready = prepare(make_attack("ci", **given, method="bullseye", craft_steps=9), progress=False)
    found = equal_time.by_then(ready, [2.5, 0.5, 3.0])
    steps = [poisons_of(ready.scenario, s, ready.attack.settings) for s, _ in ready.craft()]
    assert set(found) == {2.5, 3.0}  # half a second is over before the first step
    assert torch.equal(found[2.5], steps[1])
    assert torch.equal(found[3.0], steps[2])


def test_it_runs_on_those_that_were_drawn_and_are_targets(ticking, tmp_path, capsys, monkeypatch):
    every = {pair: range(40) for pair in itertools.permutations(SIGNS, 2)}
    first, *_ = draw_pairs(SIGNS, 2, 2, 4)
    every[first[:2]] = [i for i in range(40) if i != first[2]]
    there = SimpleNamespace(indices=every)
    monkeypatch.setattr(equal_time, "drawable", lambda *_, **__: there)
    how = "--scale ci --seconds 1,3 --pairs 2 --victims 1 --methods metapoison,gradient-matching"
    equal_time.main([*how.split(), "--json", str(tmp_path / "found.json")])
    rows = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert [(r["method"], r["seconds"]) for r in rows] == [
        (m, t) for m in ("gradient-matching", "metapoison") for t in (1.0, 3.0)
    ]
    assert all(len(r["turned"]) == 1 for r in rows)
    told = capsys.readouterr().out
    assert "1 targets; the other 1 that were drawn are none" in told
    assert "gradient-matching" in told
