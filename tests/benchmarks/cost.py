"""What a meta-gradient costs: in training steps, in operations and in memory.

    python tests/benchmarks/cost.py [--threads 1] [--models 1] [--json FILE]

The unit is one plain training step of the same models on the same batch under the same plan, as the
library trains victims: traced, and with fused batch norm, where there is one; then the step "in
plain ops", which surrogates take, stands beside it. "counted" is the same ratio in operations, by
hand (see bench/count.py): less than that is not to be had as long as a training step runs as fast
as it can. "of mm" is the rate of operations as a share of what torch.mm of two 1024 x 1024 matrices
reaches in the same threads, all of them timed in turns.

Last comes the peak memory of one model's
meta-gradient at K = 2 and K = 16, run as a graph ("traced") and function by function ("plain"),
and how many times the first the second is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from bench.clock import (
    add_json,
    add_threads,
    headline,
    in_turns,
    limit_threads,
    medians,
    write_json,
)
from bench.contender import Contender
from bench.contenders import begin, our_plan, ours
from bench.count import forward_operations, meta_gradient_operations
from bench.memory import peak_bytes
from bench.problem import CLASSES, SIZES, Problem, make_problem
from torch import nn

from mpkit.device import Plan, for_models
from mpkit.functional import own
from mpkit.networks import network
from mpkit.tracing import PATIENCE, traced
from mpkit.training import sgd_step

STRATEGIES = ("adjoint", "adjoint-lean", "reverse")
STEP, OWN_STEP, PRODUCT = "training step", "in plain ops", "torch.mm"


def training_step(
    problem: Problem, module: nn.Module, plan: Plan, way: str = "traced"
) -> Contender:
    """One plain step of every model on its first batch."""
    b, step = problem.batches, traced(sgd_step, own(module), way=way)

    def work(models: slice, *given):
        return step(*given)[1]

    given = problem.state, b.x[:, 0], b.y[:, 0], problem.lr
    return Contender(lambda: for_models(plan, problem.models, work, *given), PATIENCE + 2)


def products(models: int, plan: Plan, size: int = 1024) -> Contender:
    """One product of two square matrices for every model; 2·size³ operations each."""
    a, b = torch.rand(2, size, size)

    def work(chosen: slice) -> None:
        for _ in range(chosen.start, chosen.stop):
            torch.mm(a, b)

    return Contender(lambda: plan.map(work, models))


def measure(
    name: str,
    steps: Sequence[int] = (1, 2, 5),
    models: int = 1,
    seconds: float = 4,
    rounds: int = 5,
    *,
    threads: str = "all",
    size=None,
    product: int = 1024,
) -> dict:
    """The costs of one network: seconds, operations and their rates, for each K and strategy."""
    shape, batch, rows = size or SIZES[name]
    problems = {k: make_problem(name, k, models, size=size) for k in steps}
    any_of = problems[steps[0]]
    plan, statistics = our_plan(any_of, threads), any_of.has_stats
    work = {
        STEP: training_step(any_of, network(name, shape, CLASSES, fused=True), plan),
        PRODUCT: products(models, plan, product),
    }
    if statistics:
        work[OWN_STEP] = training_step(any_of, any_of.module, plan)
    work |= {(k, s): ours(p, s, plan) for k, p in problems.items() for s in STRATEGIES}
    begin(work)
    times = {what: medians(t).wall for what, t in in_turns(work, seconds, rounds).items()}
    f = forward_operations(any_of.modules[0], shape)
    counted = {
        what: models * meta_gradient_operations(f, what[1], batch, rows, what[0], statistics)
        for what in work
        if isinstance(what, tuple)
    }
    counted |= dict.fromkeys((STEP, OWN_STEP), models * batch * f.step)
    counted[PRODUCT] = models * 2.0 * product**3
    rates = {what: counted[what] / times[what] for what in work}
    return {
        "network": name,
        "M": models,
        "plan": str(plan),
        "product_rate": rates[PRODUCT],
        "rows": [
            {
                "what": what if isinstance(what, str) else what[1],
                "K": 0 if isinstance(what, str) else what[0],
                "seconds": times[what],
                "steps": times[what] / times[STEP],
                "counted_steps": counted[what] / counted[STEP],
                "rate": rates[what],
                "share": rates[what] / rates[PRODUCT],
            }
            for what in work
            if what != PRODUCT
        ],
    }


def report(result: dict) -> None:
    rate = result["product_rate"] / 1e9
    print(
        f"\n{result['network']}, M = {result['M']} ({result['plan']}): torch.mm {rate:.0f} GFLOP/s"
    )
    print(f"{'':16}{'K':>2}{'ms':>10}{'in steps':>10}{'counted':>9}{'GFLOP/s':>9}{'of mm':>7}")
    for row in result["rows"]:
        print(
            f"{row['what']:16}{row['K'] or '':>2}{1000 * row['seconds']:10.2f}{row['steps']:10.2f}"
            f"{row['counted_steps']:9.2f}{row['rate'] / 1e9:9.1f}{row['share']:7.0%}"
        )


def memory(name: str, steps: Sequence[int] = (2, 16), size=None) -> list[dict]:
    """Peak memory of one model's meta-gradient, beyond inputs and weights, in either way to run."""
    found = []
    for k in steps:
        problem = make_problem(name, k, 1, size=size)
        for way in ("traced", "plain"):
            for s in (*STRATEGIES, "adjoint-flat"):
                work = ours(problem, s, Plan(), way)  # in the calling thread, the one that is seen
                begin({s: work})
                what = {"network": name, "K": k, "what": s, "way": way}
                found.append(what | {"bytes": peak_bytes(work)})
    return found


def report_memory(found: list[dict]) -> None:
    """MB at each K, and how many times the first the last is."""
    steps = sorted({row["K"] for row in found})
    print("\npeak memory, MB:" + " " * 25 + "".join(f"{f'K = {k}':>10}" for k in steps), end="")
    print("     ratio")
    names = ("network", "what", "way")
    for one in dict.fromkeys(tuple(row[n] for n in names) for row in found):
        cells = {r["K"]: r["bytes"] for r in found if tuple(r[n] for n in names) == one}
        numbers = "".join(f"{cells[k] / 1e6:10.1f}" for k in steps)
        ratio = cells[steps[-1]] / cells[steps[0]]
        print("  {:11}{:13}{:15}".format(*one) + f"{numbers}{ratio:10.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="for each network")
    parser.add_argument("--rounds", type=int, default=5, help="at least so many")
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--models", nargs="+", type=int, default=[1], metavar="M")
    add_threads(parser)
    add_json(parser)
    a = parser.parse_args(arguments)
    limit_threads(a.threads)
    print(headline())
    results = []
    for name in a.networks:
        for m in a.models:
            results.append(measure(name, (1, 2, 5), m, a.seconds, a.rounds, threads=a.threads))
            report(results[-1])
    peaks = [row for name in a.networks for row in memory(name)]
    report_memory(peaks)
    write_json(a.json, {"cost": results, "memory": peaks})


if __name__ == "__main__":
    main()
