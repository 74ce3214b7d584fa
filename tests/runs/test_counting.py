"""Operations against counts by hand, and memory against what torch's profiler saw."""

from __future__ import annotations

import functools
import gc
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_map

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from bench.count import forward_operations, meta_gradient_operations
from bench.memory import peak_bytes
from bench.problem import make_problem

from mpkit.metagradient import METAGRADIENTS, meta_gradient
from mpkit.networks import network
from mpkit.runs.counting import counted
from mpkit.training import sgd_step

SIZES = {
    "mlp": ((1, 12, 12), 16, 3),
    "convnet": ((3, 16, 16), 16, 3),
    "convnet-bn": ((3, 16, 16), 16, 3),
}
LOOSE = {"mlp": 1.03, "convnet": 1.08, "convnet-bn": 1.08}
"""At most so many times the count by hand, which leaves out a convolution's second gradient."""
NETWORKS = pytest.mark.parametrize("name", SIZES)


@pytest.fixture(scope="module")
def work():
    """Network → a meta-gradient at K = 2 of one model, and its tensors; the problem it is of."""

    @functools.cache
    def made(name: str):
        problem = make_problem(name, 2, 1, size=SIZES[name])
        batches = type(problem.batches)(*(t[0] for t in problem.batches))
        given = (problem.state.pick(0), problem.poisons, batches, problem.lr[0], problem.target)
        fixed = METAGRADIENTS["auto"], ("margin", 100.0, "targeted"), ("mean", "first")
        f = functools.partial(meta_gradient, problem.module, *fixed)
        return f, (*given, torch.tensor([3])), problem

    return made


def made_up(given):
    return tree_map(lambda t: t.to("meta"), given)


@NETWORKS
def test_a_training_step_has_as_many_operations_as_by_hand(name):
    shape, batch, _ = SIZES[name]
    problem = make_problem(name, 1, 1, size=SIZES[name])
    given = problem.state.pick(0), problem.batches.x[0, 0], problem.batches.y[0, 0], problem.lr[0]
    found = counted(functools.partial(sgd_step, problem.module), *made_up(given))
    assert found.operations == batch * forward_operations(problem.modules[0], shape).step


@NETWORKS
def test_a_meta_gradient_has_hardly_more_than_by_hand(name, work):
    f, given, problem = work(name)
    shape, batch, rows = SIZES[name]
    forward = forward_operations(problem.modules[0], shape)
    by_hand = meta_gradient_operations(forward, "adjoint", batch, rows, 2, problem.has_stats)
    assert 1 <= counted(f, *made_up(given)).operations / by_hand < LOOSE[name]


@NETWORKS
def test_the_peak_is_what_the_profiler_sees(name, work):
    f, given, _ = work(name)
    # oneDNN's convolutions take room of their own, which depends on the processor and the moment.
    with torch.backends.mkldnn.flags(enabled=False):
        seen = peak_bytes(lambda: f(*given))
    assert counted(f, *made_up(given)).peak == pytest.approx(seen, rel=0.1)


@NETWORKS
def test_made_up_tensors_are_counted_as_real_ones_are(name, work):
    f, given, _ = work(name)
    real, unreal = counted(f, *given), counted(f, *made_up(given))
    assert (unreal.operations, unreal.peak) == (real.operations, real.peak)
    assert unreal.moved == pytest.approx(real.moved, rel=1e-3)


def test_what_was_there_is_not_held_and_a_view_is_nothing():
    x = torch.ones(1000, device="meta")
    assert counted(lambda t: t.view(10, 100), x) == counted(lambda t: t, x)
    found = counted(lambda t: (t + 1) * 2, x)
    assert (found.moved, found.peak) == (2 * 2 * 4000, 2 * 4000)
    assert counted(lambda t: t.add_(1), x).peak == 0
    assert counted(lambda a, b: a @ b, *torch.ones(2, 8, 8, device="meta")).operations == 2 * 8**3


def test_what_is_let_go_is_held_no_longer():
    def chain(x):
        for _ in range(5):
            x = x + 1
        return x

    gc.collect()
    assert counted(chain, torch.ones(1000, device="meta")).peak == 2 * 4000


def test_the_largest_network_is_counted_without_its_weights():
    module = network("resnet18", (3, 32, 32), 10, fused=True)
    parts = dict(module.named_parameters()), dict(module.named_buffers())
    state = type(make_problem("mlp", 1, 1, size=SIZES["mlp"]).state)(
        *({k: torch.empty_like(v, device="meta") for k, v in part.items()} for part in parts)
    )
    x, y = (
        torch.empty(2, 3, 32, 32, device="meta"),
        torch.empty(2, dtype=torch.int64, device="meta"),
    )
    given = state, x, y, torch.empty((), device="meta")
    found = counted(functools.partial(sgd_step, module), *given)
    assert found.operations / 2 == pytest.approx(3 * 2 * 0.556e9, rel=0.01)  # He et al.: 0.56 GMAC
