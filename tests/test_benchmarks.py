"""The benchmarks run, at a tiny size, and refuse to time contenders that disagree."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import cost
import import_time
import meta_gradients
from bench import contenders
from bench.clock import in_turns
from bench.contenders import DisagreementError, check, ours
from bench.count import forward_operations, meta_gradient_operations
from bench.memory import peak_bytes
from bench.problem import SIZES, make_problem

from mpkit.device import Plan
from mpkit.metagradient import METAGRADIENTS

TINY = {
    "mlp": ((1, 6, 6), 8, 3),
    "convnet": ((3, 8, 8), 8, 3),
    "convnet-bn": ((3, 8, 8), 8, 3),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny work is not worth two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_all_sizes_are_tried():
    assert list(TINY) == sorted(SIZES, key=list(TINY).index)


# ── meta_gradients.py ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", TINY)
def test_a_row_of_the_table(name, capsys):
    points = list(meta_gradients.run([name], [2], [2], seconds=0, rounds=1, sizes=TINY))
    (point,) = points
    assert set(point["ms"]) == {"mpkit adjoint", "mpkit reverse", "higher", "TorchOpt", "autograd"}
    assert point["difference"] < 1e-3
    best = min(point["ms"][peer] for peer in contenders.PEERS)
    picked = point["strategy"]
    assert point["ratio"] == pytest.approx(best / point["ms"][f"mpkit {picked}"])
    assert meta_gradients.summarise(points)["smallest_ratio"] == point["ratio"]
    printed = capsys.readouterr().out
    assert name in printed
    assert "in float64" in printed


def test_the_script_writes_its_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(meta_gradients, "SIZES", TINY)
    monkeypatch.setattr("bench.problem.SIZES", TINY)
    file = tmp_path / "numbers.json"
    options = {"--networks": "mlp", "--steps": 1, "--models": 1, "--seconds": 0, "--rounds": 1}
    options["--json"] = file
    meta_gradients.main([str(part) for pair in options.items() for part in pair])
    found = json.loads(file.read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert len(found["points"]) == 1
    assert "in the median" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("culprit", contenders.PEERS)
def test_a_peer_that_is_wrong_is_found(culprit, monkeypatch):
    right = contenders.PEERS[culprit]

    def wrong(problem, layout="plain"):
        return lambda: 1.01 * right(problem, layout)()

    monkeypatch.setitem(contenders.PEERS, culprit, wrong)
    layouts = dict.fromkeys(contenders.PEERS, "plain")
    with pytest.raises(DisagreementError, match="differs from autograd"):
        meta_gradients.measure("mlp", 1, 1, layouts, 0, 1, TINY["mlp"])


@pytest.mark.parametrize("strategy", meta_gradients.STRATEGIES)
def test_mpkit_being_wrong_is_found(strategy, monkeypatch):
    """An error as they come: pixels count in every step, where the first alone is wanted."""
    wrong = partial(METAGRADIENTS[strategy], poisoned_steps="all")
    monkeypatch.setitem(METAGRADIENTS, strategy, wrong)
    layouts = dict.fromkeys(contenders.PEERS, "plain")
    with pytest.raises(DisagreementError, match=f"mpkit {strategy}.* differs from autograd"):
        meta_gradients.measure("mlp", 2, 1, layouts, 0, 1, TINY["mlp"])
    with pytest.raises(DisagreementError, match=f"mpkit {strategy}.* differs from autograd"):
        meta_gradients.check_exactly("mlp", layouts, TINY["mlp"])


def test_nan_is_a_disagreement():
    one = torch.ones(3)
    assert check({"a": lambda: one, "b": lambda: one}, 0) == 0
    with pytest.raises(DisagreementError, match="broken differs from b by nan"):
        check({"broken": lambda: one * torch.nan, "b": lambda: one}, 1e-3)


def test_layouts_are_measured():
    chosen = meta_gradients.best_layouts("convnet", 1, TINY["convnet"])
    assert set(chosen) == set(contenders.PEERS)
    assert set(chosen.values()) <= set(contenders.LAYOUTS)


def test_everyone_takes_turns():
    calls = []
    work = {name: partial(calls.append, name) for name in "abc"}
    times = in_turns(work, 0, 60)
    rounds = {"".join(calls[i : i + 3]) for i in range(0, 180, 3)}
    assert rounds == {"abc", "acb", "bac", "bca", "cab", "cba"}
    assert all(len(t) == 60 for t in times.values())


def test_three_rounds_are_enough_of_what_takes_long():
    nap = {"nap": partial(time.sleep, 0.01)}
    assert len(in_turns(nap, 0, 5, limit=0.001)["nap"]) == 3
    assert len(in_turns(nap, 0, 2, limit=0.001)["nap"]) == 2
    assert len(in_turns(nap, 0, 5)["nap"]) == 5
    assert len(in_turns(nap, 0.065, 1)["nap"]) > 2


# ── cost.py ─────────────────────────────────────────────────────────────────────────────────────


def test_cost(capsys):
    found = cost.measure("convnet-bn", [1, 2], 2, 0, 1, TINY["convnet-bn"], product=16)
    cost.report(found)
    what = [(row["what"], row["K"]) for row in found["rows"]]
    assert sorted(what[:2]) == sorted([(cost.STEP, 0), (cost.OWN_STEP, 0)])
    assert what[2:] == [(s, k) for k in (1, 2) for s in cost.STRATEGIES]
    assert found["rows"][0]["steps"] == 1
    assert "GFLOP/s" in capsys.readouterr().out


class NoTracker(contextlib.nullcontext):
    parents = frozenset({"Global"})


@pytest.mark.parametrize("strategy", cost.STRATEGIES)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("name", TINY)
def test_operations_are_counted_right(name, steps, strategy, monkeypatch):
    """torch's own counter, which is right where nothing is stacked, counts the same; but for what
    convolutions compute although nobody wants it, weights' parts at step 0 and pixels' later."""
    problem = make_problem(name, steps, 1, size=TINY[name])
    shape, batch, rows = TINY[name]
    f = forward_operations(problem.modules[0], shape)
    statistics = problem.network.has_stats
    counted = meta_gradient_operations(f, strategy, batch, rows, steps, statistics)
    # Its bookkeeping of modules can't do with leaves as their input.
    monkeypatch.setattr("torch.utils.flop_counter.ModuleTracker", NoTracker)
    with FlopCounterMode(display=False) as counter:
        ours(problem, strategy, Plan())()
    at_step_0 = batch if strategy == "reverse" or statistics else rows
    unneeded = at_step_0 * (f.all - f.first) + (steps - 1) * batch * f.first
    assert 0 <= counter.get_total_flops() - counted <= unneeded * (name != "mlp")


def test_a_plain_step_is_counted_right():
    problem = make_problem("convnet", 1, 1, size=TINY["convnet"])
    shape, batch, _ = TINY["convnet"]
    with FlopCounterMode(display=False) as counter:
        cost.training_step(problem, problem.network, Plan())()
    assert counter.get_total_flops() == batch * forward_operations(problem.modules[0], shape).step


def test_peak_memory_of_something_known():
    def work():
        a = torch.ones(1000)  # 4,000 bytes
        b = a + 1  # both there: 8,000
        del a
        return b + 1  # two of them again

    assert 8_000 <= peak_bytes(work) < 8_200


def test_peak_memory(capsys):
    found = cost.memory("mlp", (1, 2), TINY["mlp"])
    cost.report_memory(found)
    assert len(found) == 2 * len(cost.STRATEGIES)
    assert all(row["bytes"] > 0 for row in found)
    assert "adjoint-lean" in capsys.readouterr().out


# ── import_time.py ──────────────────────────────────────────────────────────────────────────────


def test_import_time():
    found = import_time.measure(rounds=1, warm_up=0)
    assert 0 < found["import_mpkit"] < found["interpreter_with_both"]
    assert found["modules"] > 0
