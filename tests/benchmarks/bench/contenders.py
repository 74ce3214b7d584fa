"""Who takes part, which of them are here, and whether they agree."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from bench.contender import Contender
from bench.mixed import forward_over_reverse
from bench.modules import plain_norms
from bench.pool import Pool
from bench.problem import ADVERSARIAL, Problem
from torch import Tensor

from mpkit.device import Plan, for_models, plan_for
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import meta_gradient
from mpkit.tracing import PATIENCE, traced

PEERS = {
    "higher": ("higher", "bench.torch_peers", "higher_sgd"),
    "TorchOpt": ("torchopt", "bench.torch_peers", "torchopt_sgd"),
    "JAX loop": ("jax", "bench.jax_peer", "jax_loop"),
    "JAX vmap": ("jax", "bench.jax_peer", "jax_vmap"),
    "autograd": ("torch", "bench.torch_peers", "autograd"),
}
"""Name → the package it needs, and the function that makes it of a problem and a layout. What the
others are checked by comes last."""

PROCESSES = "processes"
"""The name of plain autograd one process a core."""

Peers = dict[str, Callable[..., Contender]]


def peers(leave_out: Sequence[str] = ()) -> Peers:
    """Those whose packages are here and who are wanted; says loudly which are not here."""
    found = {}
    for name, (package, module, function) in PEERS.items():
        if name in leave_out:
            continue
        if importlib.util.find_spec(package):
            found[name] = getattr(importlib.import_module(module), function)
        else:
            print(f"!! {name} IS LEFT OUT: {package} is not installed (pip install 'mpkit[bench]')")
    return found


def ours(problem: Problem, strategy: str, plan: Plan, way: str = "traced") -> Contender:
    """A strategy of mpkit under a plan, called as `craft` calls it."""
    each = each_of_ours(problem, strategy, plan, way)
    return Contender(lambda: each().sum(0), each.calls)


def each_of_ours(problem: Problem, strategy: str, plan: Plan, way: str = "traced") -> Contender:
    """The same, of every model for itself: (M, P, C, H, W).

    "forward over reverse" is not the library's own (bench/mixed.py). Forward mode has no way
    through the library's batch norm, so this one computes with an ordinary one.
    """
    module, f = problem.module, METAGRADIENTS.get(strategy, forward_over_reverse)
    if f is forward_over_reverse:
        module = plain_norms(module)
    aim, how, stacked = (
        ("margin", 100.0, "targeted"),
        ("mean", "first"),
        (0, None, 0, 0, None, None),
    )
    one = partial(traced, meta_gradient, module, f, aim, how, way=way)
    run = {False: one(), True: one(in_dims=stacked)}
    targets = problem.target, torch.tensor([ADVERSARIAL], device=problem.target.device)

    def work(models: slice, state, batches, lr):
        f = run[models.stop - models.start > 1]
        return f(state, problem.poisons, batches, lr, *targets).gradient

    given = problem.state, problem.batches, problem.lr
    calls = -(-(PATIENCE + 2) // -(-problem.models // plan.chunk)) if way == "traced" else 1
    return Contender(lambda: for_models(plan, problem.models, work, *given), calls)


def our_plan(problem: Problem, threads: str) -> Plan:
    """As the library computes so many models on this machine, or on one thread of it."""
    return Plan() if threads == "1" else plan_for(problem.models, torch.device("cpu"))


def contenders(
    problem: Problem,
    mine: dict[str, tuple[str, str]],
    plan: Plan,
    others: Peers,
    layouts: dict[str, str],
    pool: Pool | None = None,
) -> dict[str, Contender]:
    """All of them by name; `mine`: name → (strategy, way). The last one is the reference."""
    found = {name: ours(problem, s, plan, way) for name, (s, way) in mine.items()}
    if pool and problem.models > 1:
        found[PROCESSES] = pool.contender(problem, layouts["autograd"])
    return found | {name: make(problem, layouts[name]) for name, make in others.items()}


class DisagreementError(RuntimeError):
    """Contenders that did not compute the same thing: their times mean nothing."""


def begin(work: dict[str, Contender]) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Every contender's answer once it is at its pace, and the seconds until then.

    So what is checked is what will be timed: a graph, and not the plain calls before it.
    """
    answers, seconds = {}, {}
    for name, contender in work.items():
        before = time.perf_counter()
        for _ in range(contender.calls):
            answers[name] = contender()
        seconds[name] = time.perf_counter() - before
    return answers, seconds


def check(answers: dict[str, Tensor], tolerance: float) -> float:
    """The largest relative difference of any answer from the last one.

    Raises DisagreementError where it exceeds `tolerance`.
    """
    *others, reference = answers
    wanted = answers[reference]
    worst = 0.0
    for name in others:
        error = float((answers[name] - wanted).norm() / wanted.norm())
        if not error <= tolerance:  # catches NaN too
            raise DisagreementError(
                f"{name} differs from {reference} by {error:.1e} of its norm; "
                f"at most {tolerance:.0e} is allowed"
            )
        worst = max(worst, error)
    return worst
