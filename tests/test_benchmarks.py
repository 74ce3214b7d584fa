"""The benchmarks run, at a tiny size, and refuse to time contenders that disagree."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import against
import cost
import import_time
import meta_gradients
from bench import contenders
from bench.clock import Spent, in_turns, limit_threads, medians, once
from bench.contender import LAYOUTS, Contender
from bench.contenders import PROCESSES, DisagreementError, begin, check, ours
from bench.count import forward_operations, meta_gradient_operations
from bench.memory import peak_bytes
from bench.pool import Pool, pool
from bench.problem import SIZES, make_problem

from mpkit import tracing
from mpkit.device import Plan
from mpkit.metagradient import METAGRADIENTS

JAX = ("JAX loop", "JAX vmap")
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed (mpkit[bench])"
)

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


def setup(**given) -> meta_gradients.Setup:
    """As short as it can be; without JAX, which takes long to compile."""
    usual = {"others": contenders.peers(JAX), "seconds": 0, "rounds": 1, "sizes": TINY}
    return meta_gradients.Setup(**(usual | given))


PLAIN = dict.fromkeys(contenders.PEERS, "plain")


@pytest.mark.parametrize("name", TINY)
def test_a_row_of_the_table(name, capsys):
    mine = meta_gradients.OURS
    if name != "mlp":  # whose graphs take longer to write down
        mine = {"mpkit traced": mine["mpkit traced"]}
    points = list(meta_gradients.run(setup(mine=mine), [name], [2 if name == "mlp" else 1], [2]))
    meta_gradients.report_all(points)
    (point,) = points
    peers = {"higher", "TorchOpt", "autograd"}
    for table in ("ms", "processor_ms", "begins_in"):
        assert set(point[table]) == set(mine) | peers
    assert point["difference"] < 1e-3
    best = min(point["ms"][peer] for peer in peers)
    assert point["ratio"] == pytest.approx(best / point["ms"]["mpkit traced"])
    assert point["ms"][point["first"]] == min(point["ms"].values())
    assert meta_gradients.summarise(points)["smallest_ratio"] == point["ratio"]
    printed = capsys.readouterr().out
    assert f"{name}, K = {point['K']}, M = 2 (one by one on" in printed
    assert "in float64" in printed


@pytest.mark.parametrize("name", TINY)
def test_forward_over_reverse_gives_the_same(name):
    """Through batch norm as well, an ordinary one."""
    problem = make_problem(name, 3, 1, torch.float64, TINY[name])
    work = {
        "forward": ours(problem, "forward over reverse", Plan(), "plain"),
        "autograd": contenders.peers(JAX)["autograd"](problem),
    }
    assert check(begin(work)[0], 1e-9) < 1e-9


@needs_jax
@pytest.mark.parametrize(("who", "name"), [("JAX vmap", "mlp"), ("JAX loop", "convnet-bn")])
def test_jax_gives_the_same(who, name):
    """To a relative 1e-9, and leaves JAX in float32."""
    problem = make_problem(name, 1, 2, torch.float64, TINY[name])
    made = contenders.peers()
    layout = "plain" if name == "mlp" else "channels last"
    work = {peer: made[peer](problem, layout) for peer in (who, "autograd")}
    assert check(begin(work)[0], 1e-9) < 1e-9
    import jax.numpy as jnp

    assert jnp.ones(1).dtype == "float32"


@needs_jax
def test_jax_keeps_to_one_thread():
    """Asked in a process of its own, as JAX has to be told before it is imported."""
    code = (
        "import glob; from bench.clock import limit_threads; limit_threads('1')\n"
        "import jax, jax.numpy as jnp\n"
        "a = jnp.ones((600, 600)); f = jax.jit(lambda a: a @ a @ a)\n"
        "for _ in range(20): f(a).block_until_ready()\n"
        "used = lambda s: sum(map(int, s.rpartition(')')[2].split()[11:13]))\n"
        "stats = [open(p).read() for p in glob.glob('/proc/self/task/*/stat')]\n"
        "print(max([used(s) for s in stats if 'tf_XLAEigen' in s], default=0))"
    )
    if not Path("/proc/self/task").exists():
        pytest.skip("only Linux tells what each thread has used")
    folder = Path(__file__).parent / "benchmarks"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 1  # hundredths of a second, of the workers of its pool


def test_who_is_missing_is_named_loudly(monkeypatch, capsys):
    monkeypatch.setitem(contenders.PEERS, "higher", ("nowhere_to_be_found", "", ""))
    found = contenders.peers(JAX)
    assert list(found) == ["TorchOpt", "autograd"]
    assert "!! higher IS LEFT OUT: nowhere_to_be_found" in capsys.readouterr().out


def test_the_script_writes_its_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(meta_gradients, "SIZES", TINY)
    file = tmp_path / "numbers.json"
    options = {"--networks": "mlp", "--steps": 1, "--models": 1, "--seconds": 0, "--rounds": 1}
    options |= {"--json": file}
    without = ["--without", *JAX]
    meta_gradients.main([str(part) for pair in options.items() for part in pair] + without)
    found = json.loads(file.read_text())
    assert found["machine"]["torch"] == torch.__version__
    assert len(found["points"]) == 1
    assert "in the median" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("culprit", ["higher", "TorchOpt"])
def test_a_peer_that_is_wrong_is_found(culprit):
    made = setup()
    right = made.others[culprit]

    def wrong(problem, layout):
        return Contender(lambda: 1.01 * right(problem, layout)())

    made.others[culprit] = wrong
    with pytest.raises(DisagreementError, match=f"{culprit} differs from autograd"):
        meta_gradients.measure("mlp", 1, 1, PLAIN, made)


@pytest.mark.parametrize("who", ["mpkit traced", "mpkit reverse"])
def test_mpkit_being_wrong_is_found(who, monkeypatch):
    """An error as they come: pixels count in every step, where the first alone is wanted."""
    strategy = meta_gradients.OURS[who][0]
    right = METAGRADIENTS[strategy]

    def wrong(*given, **how):
        return right(*given, **how | {"poisoned_steps": "all"})

    monkeypatch.setitem(METAGRADIENTS, strategy, wrong)
    made = setup(mine={who: meta_gradients.OURS[who]} | meta_gradients.OURS)
    with pytest.raises(DisagreementError, match=f"{who} differs from autograd"):
        meta_gradients.measure("mlp", 2, 1, PLAIN, made)
    with pytest.raises(DisagreementError, match=f"{who}, stacked differs from autograd"):
        meta_gradients.check_exactly("mlp", PLAIN, made)


def test_what_is_checked_is_the_graph(monkeypatch):
    """And not the plain calls that come before it."""
    ran, run = [], tracing.Form.run
    monkeypatch.setattr(tracing.Form, "run", lambda form, given: ran.append(1) or run(form, given))
    for models in (1, 2):
        work = ours(make_problem("mlp", 1, models, size=TINY["mlp"]), "adjoint", Plan())
        _, seconds = begin({"traced": work})
        before = len(ran)
        assert seconds["traced"] > 0
        assert work().shape == (3, 1, 6, 6)
        assert len(ran) == before + models > 2 * models  # the last of the calls and this one


def test_nan_is_a_disagreement():
    one = torch.ones(3)
    assert check({"a": one, "b": one}, 0) == 0
    with pytest.raises(DisagreementError, match="broken differs from b by nan"):
        check({"broken": one * torch.nan, "b": one}, 1e-3)


def test_layouts_are_measured():
    made = setup()
    chosen = meta_gradients.best_layouts("convnet", made)
    assert set(chosen) == set(made.others)
    assert set(chosen.values()) <= set(LAYOUTS)


def test_processes_share_the_models():
    """The same sum as in one process, and their processor time is counted."""
    problem = make_problem("mlp", 2, 3, size=TINY["mlp"])
    made = Pool(2)
    work = made.contender(problem)
    alone = setup().others["autograd"](problem, "plain")
    assert check(begin({PROCESSES: work, "autograd": alone})[0], 1e-5) < 1e-5
    assert made.used > 0
    made.close()
    assert all(process.exitcode == 0 for process in made.processes)
    with pool(1) as nobody:
        assert nobody is None


def test_processor_time_of_others_is_counted():
    used = iter([1.0, 3.5])
    assert once(Contender(lambda: None, processor=lambda: next(used))).processor == 2.5
    assert medians([Spent(1, 9), Spent(2, 7), Spent(3, 8)]) == (2, 8)


def test_threads_are_limited(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--others")
    monkeypatch.setenv("NPROC", "7")
    torch.set_num_threads(2)
    limit_threads("all")
    assert (torch.get_num_threads(), os.environ["NPROC"]) == (2, "7")
    limit_threads("1")
    assert (torch.get_num_threads(), os.environ["NPROC"]) == (1, "1")
    assert os.environ["XLA_FLAGS"].startswith("--others --xla")


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


# ── against.py ──────────────────────────────────────────────────────────────────────────────────


def test_against_itself(capsys):
    """Loaded a second time, this checkout is another one, and as good."""
    root = Path(__file__).parents[1]
    modules = against.load(root)
    assert modules["metagradient"].METAGRADIENTS is not METAGRADIENTS
    assert sys.modules["mpkit.metagradient"].METAGRADIENTS is METAGRADIENTS
    theirs = against.interface(root, modules), modules
    point = against.measure(("mlp", 2, 2), theirs, 0, 1, size=TINY["mlp"])
    against.report(point)
    assert point["ratio"] == point["ms"]["old"] / point["ms"]["new"]
    assert capsys.readouterr().out.startswith("mlp")


def test_an_engine_that_differs_is_found(monkeypatch):
    root = Path(__file__).parents[1]
    modules = against.load(root)
    theirs = modules["metagradient"].METAGRADIENTS
    monkeypatch.setitem(theirs, "auto", partial(theirs["auto"], poisoned_steps="all"))
    with pytest.raises(DisagreementError, match="new differs from old"):
        against.measure(("mlp", 2, 1), (against.single, modules), 0, 1, size=TINY["mlp"])


def test_what_cannot_be_compared_is_said(tmp_path, capsys):
    with pytest.raises(SystemExit, match="is no checkout"):
        against.load(tmp_path)
    (tmp_path / "mpkit").mkdir()
    (tmp_path / "mpkit" / "__init__.py").touch()
    with pytest.raises(SystemExit, match="an interface that this does not know"):
        against.interface(tmp_path, against.load(tmp_path))
    against.main([])
    assert "Nothing to compare with" in capsys.readouterr().out


# ── cost.py ─────────────────────────────────────────────────────────────────────────────────────


def test_cost(capsys):
    size = TINY["convnet-bn"]
    found = cost.measure("convnet-bn", [1], 1, 0, 1, size=size, product=16)
    cost.report(found)
    what = [(row["what"], row["K"]) for row in found["rows"]]
    assert sorted(what[:2]) == sorted([(cost.STEP, 0), (cost.OWN_STEP, 0)])
    assert what[2:] == [(s, 1) for s in cost.STRATEGIES]
    assert found["rows"][0]["steps"] == 1
    assert "GFLOP/s" in capsys.readouterr().out


class NoTracker(contextlib.nullcontext):
    parents = frozenset({"Global"})


def counted_by_torch(work, monkeypatch) -> int:
    """The operations of a graph: what nobody needs is left out of it."""
    # Its bookkeeping of modules can't do with leaves as their input.
    monkeypatch.setattr("torch.utils.flop_counter.ModuleTracker", NoTracker)
    begin({"": work})
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("steps", "strategy"), [(1, "adjoint"), *((3, s) for s in cost.STRATEGIES)]
)
@pytest.mark.parametrize("name", TINY)
def test_operations_are_counted_right(name, steps, strategy, monkeypatch):
    """torch's own counter counts the same; but for what convolutions compute although nobody wants
    it: weights' parts where a graph is built a second time."""
    problem = make_problem(name, steps, 1, size=TINY[name])
    shape, batch, rows = TINY[name]
    f = forward_operations(problem.modules[0], shape)
    statistics = problem.has_stats
    counted = meta_gradient_operations(f, strategy, batch, rows, steps, statistics)
    unneeded = 0
    if name != "mlp" and strategy != "reverse":
        unneeded += (not statistics) * rows * (f.all - f.first)
        again = max(steps - 2 + statistics, 0) if strategy == "adjoint-lean" else 0
        unneeded += again * batch * (f.all - f.first + f.second)
    found = counted_by_torch(ours(problem, strategy, Plan()), monkeypatch)
    assert 0 <= found - counted <= unneeded


def test_a_plain_step_is_counted_right(monkeypatch):
    problem = make_problem("convnet", 1, 1, size=TINY["convnet"])
    shape, batch, _ = TINY["convnet"]
    step = cost.training_step(problem, problem.module, Plan(), "plain")
    found = counted_by_torch(step, monkeypatch)
    assert found == batch * forward_operations(problem.modules[0], shape).step


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
    assert len(found) == 2 * 2 * (len(cost.STRATEGIES) + 1)
    assert all(row["bytes"] > 0 for row in found)
    assert "adjoint-lean" in capsys.readouterr().out


# ── import_time.py ──────────────────────────────────────────────────────────────────────────────


def test_import_time():
    found = import_time.measure(rounds=1, warm_up=0)
    assert 0 < found["import_mpkit"] < found["interpreter_with_both"]
    assert found["modules"] > 0
