"""Is a device right: its meta-gradients beside the CPU's, its sums, and the same run twice.

In float64 a device must give what the CPU gives, to a relative 1e-8: that finds what is wrong. In
float32, and in what is faster, how far off it is, and the cosine with float64, are written down;
0.99 must be kept by what is to be used.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch
from bench.clock import in_turns, medians
from bench.contenders import begin, each_of_ours
from bench.problem import Problem, make_problem
from torch import Tensor

from mpkit.device import Plan, finish, make_reproducible
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare

EXACT, NEAR, ORDERED = 1e-8, 0.99, 1e-6
"""Allowed: the relative difference in float64, the cosine in float32, and the relative difference
of one sum from another in float32."""


def on(problem: Problem, device: torch.device) -> Problem:
    """The same problem on a device; its `modules` too."""
    to = lambda t: t.to(device)  # noqa: E731
    moved = {k: to(getattr(problem, k)) for k in ("poisons", "target", "lr")}
    batches = type(problem.batches)(*map(to, problem.batches))
    modules = [m.to(device) for m in problem.modules]
    state = problem.state.map(to)
    return dataclasses.replace(problem, state=state, batches=batches, modules=modules, **moved)


def gradients(
    problem: Problem, strategy: str, plan: Plan, device: torch.device, way: str = "traced"
) -> Tensor:
    """(M, P, C, H, W) in float64 on the CPU, as the graph gives them, and not the calls before."""
    make = each_of_ours(on(problem, device), strategy, plan, way)
    answers, _ = begin({"": make})
    return answers[""].detach().double().cpu()


def off(found: Tensor, wanted: Tensor) -> float:
    """The relative difference."""
    return ((found - wanted).norm() / wanted.norm()).item()


def cosine(found: Tensor, wanted: Tensor) -> float:
    return float(torch.cosine_similarity(found.flatten(), wanted.flatten(), 0))


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether products and convolutions of float32 may be taken in TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def passed(found: dict, **tests: bool) -> dict:
    """What was found. Raises AssertionError naming the tests that failed, and the numbers."""
    if wrong := [name.replace("_", " ") for name, ok in tests.items() if not ok]:
        raise AssertionError(f"{', '.join(wrong)}: {found}")
    return found


def as_on_cpu(name: str, size: tuple, strategies: tuple, device: torch.device) -> dict:
    """A network's meta-gradient, K = 2 and M = 2 stacked, by each strategy: beside the CPU's."""
    exact = make_problem(name, 2, 2, torch.float64, size)
    wanted = gradients(exact, "adjoint", Plan(), torch.device("cpu"), "plain")
    short = make_problem(name, 2, 2, torch.float32, size)
    there = gradients(short, "adjoint", Plan(), torch.device("cpu"), "plain")
    found, worst = {}, 0.0
    with tf32(False):
        for strategy in strategies:
            worst = max(worst, off(gradients(exact, strategy, Plan(2), device), wanted))
        here = gradients(short, "adjoint", Plan(2), device)
    found |= {"float64": worst, "float32": off(here, wanted), "CPU float32": off(there, wanted)}
    found["cosine"] = cosine(here, wanted)
    return passed(found, equal_in_float64=worst <= EXACT, near_in_float32=found["cosine"] >= NEAR)


def ordered_sum(name: str, size: tuple, device: torch.device, models: int = 4) -> dict:
    """One meta-gradient of M models, summed in the order of the models: all stacked, by halves, as
    two ranks have them, and one by one."""
    problem, sums = make_problem(name, 2, models, torch.float32, size), {}
    with tf32(False):
        for chunk in (models, models // 2, 1):
            parts = gradients(problem, "adjoint", Plan(chunk), device)
            sums[chunk] = sum(part.float() for part in parts)
    found = {f"by {n}": off(sums[n], sums[1]) for n in (models, models // 2)}
    return passed(found, within_a_millionth=max(found.values()) <= ORDERED)


def precisions(name: str, size: tuple, device: torch.device, models: int) -> dict:
    """The cosine with float64, and milliseconds, of float32, TF32 and bfloat16 throughout."""
    exact = make_problem(name, 2, models, torch.float64, size)
    wanted, found, plan = gradients(exact, "adjoint", Plan(models), device), {}, Plan(models)
    for what, dtype in (("float32", 0), ("TF32", 1), ("bfloat16", 2)):
        kind = torch.bfloat16 if dtype == 2 else torch.float32
        problem = on(make_problem(name, 2, models, kind, size), device)
        with tf32(dtype == 1):
            try:
                work = each_of_ours(problem, "adjoint", plan)
                here = begin({"": work})[0][""].detach().double().cpu()
                spent = in_turns({"": lambda w=work: (w(), finish(device))}, 0.2)[""]
                found[what] = {"cosine": cosine(here, wanted), "ms": 1000 * medians(spent).wall}
            except RuntimeError as error:
                found[what] = {"fails": str(error).splitlines()[0][:120]}
    return found


def run_twice(device: torch.device, data: dict) -> dict:
    """Three craft steps twice: the same bits; and on the CPU, how far its loss and poisons are."""

    def run(where: torch.device) -> tuple[Tensor, list[float]]:
        ready = prepare(make_attack(**data, device=str(where)), progress=False)
        *_, (state, last) = ready.craft()
        delta = torch.cat([p.flatten().cpu() for p in state.parameters.values()])
        return delta, last.losses

    make_reproducible(device)
    (one, losses), (two, _), (cpu, other) = run(device), run(device), run(torch.device("cpu"))
    found = {
        "bits that differ": int((one != two).sum()),
        "loss": sum(losses) / len(losses),
        "loss on the CPU": sum(other) / len(other),
        "δ beside the CPU's": off(one, cpu),
    }
    return passed(found, same_bits=not found["bits that differ"])
