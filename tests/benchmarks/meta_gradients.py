"""Meta-gradients per second: mpkit beside higher, TorchOpt and plain torch.autograd.

    python tests/benchmarks/meta_gradients.py [--seconds 4] [--json FILE]

All contenders compute the same meta-gradient (checked first, and once a network in float64) and are
timed in turns. One meta-gradient is one model's; with M models the peers go
through them one after the other, mpkit by the plan it picks for itself. Times are medians over at
least five rounds, or over three where a round takes longer than --seconds. A ratio above 1 says
that the strategy that mpkit picks for the network is faster than the fastest peer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from statistics import median

import torch
from bench.clock import add_json, headline, in_turns, write_json
from bench.contenders import LAYOUTS, PEERS, Contender, check, ours, pick_plan
from bench.problem import SIZES, Problem, make_problem

from mpkit.device import Plan
from mpkit.metagradient import preferred

STRATEGIES = ("adjoint", "reverse")


def best_layouts(name: str, rounds: int, size=None) -> dict[str, str]:
    """How each peer prefers pictures to lie in memory, measured with K = 1 and one model."""
    if name == "mlp":
        return dict.fromkeys(PEERS, "plain")
    problem, best = make_problem(name, 1, 1, size=size), {}
    for peer, make in PEERS.items():
        work = {layout: make(problem, layout) for layout in LAYOUTS}
        times = in_turns(work, 0, rounds + 1)
        best[peer] = min(work, key=lambda layout: median(times[layout][1:]))
    return best


def contenders(
    problem: Problem, layouts: dict[str, str], plans: dict[str, Plan]
) -> dict[str, Contender]:
    """mpkit's strategies and the peers by name; the last one is what the others are checked by."""
    found = {f"mpkit {s}": ours(problem, s, plan) for s, plan in plans.items()}
    return found | {peer: make(problem, layouts[peer]) for peer, make in PEERS.items()}


def check_exactly(name: str, layouts: dict[str, str], size=None) -> float:
    """In float64 to a relative 1e-9, mpkit's models one by one and stacked: the largest difference.

    K = 2, M = 2 and a small batch: what is true of 20 rows is true of 125.
    """
    shape, batch, rows = size or SIZES[name]
    problem = make_problem(name, 2, 2, torch.float64, (shape, min(batch, 20), min(rows, 5)))
    work = {f"mpkit {s}, stacked": ours(problem, s, Plan(2)) for s in STRATEGIES}
    return check(work | contenders(problem, layouts, dict.fromkeys(STRATEGIES, Plan())), 1e-9)


def measure(
    name: str,
    steps: int,
    models: int,
    layouts: dict[str, str],
    seconds: float,
    rounds: int = 5,
    size=None,
) -> dict:
    """One point of the grid: milliseconds per meta-gradient of each contender, and the plans."""
    problem = make_problem(name, steps, models, size=size)
    plans = {s: pick_plan(problem, s) for s in STRATEGIES}
    work = contenders(problem, layouts, plans)
    if problem.network.has_stats:
        # In float32 batch norm magnifies what rounding does to pools and ReLUs near a tie, so that
        # whoever adds up in another order is a few per cent off: float64 tells equal from unequal.
        exact = make_problem(name, steps, models, torch.float64, size)
        error = check(contenders(exact, layouts, plans), 1e-9)
    else:
        error = check(work, 1e-3)
    for warm_up in work.values():
        warm_up()
    times = in_turns(work, seconds, rounds, limit=3 * seconds)
    each = {who: 1000 * median(t) / models for who, t in times.items()}
    fastest = min(PEERS, key=each.get)
    return {
        "network": name,
        "K": steps,
        "M": models,
        "ms": each,
        "per_second": {who: 1000 / ms for who, ms in each.items()},
        "best_peer": fastest,
        "strategy": preferred(problem.network),
        "ratio": each[fastest] / each[f"mpkit {preferred(problem.network)}"],
        "plans": {s: str(plan) for s, plan in plans.items()},
        "layouts": layouts,
        "rounds": len(times[fastest]),
        "difference": error,
    }


def run(
    names: Sequence[str] = tuple(SIZES),
    steps: Sequence[int] = (1, 2, 5),
    models: Sequence[int] = (1, 8),
    seconds: float = 4,
    rounds: int = 5,
    sizes: dict | None = None,
) -> Iterator[dict]:
    """The points of the grid, one after the other, printed as they come."""
    columns = [f"mpkit {s}" for s in STRATEGIES] + list(PEERS)
    print("ms per meta-gradient:")
    print(f"{'network':11}{'K':>2}{'M':>3}" + "".join(f"{c:>15}" for c in columns), end="")
    print("   per second   ratio  strategy and plan picked")
    for name in names:
        size = (sizes or SIZES)[name]
        layouts = best_layouts(name, rounds, size)
        exact = check_exactly(name, layouts, size)
        for k in steps:
            for m in models:
                point = measure(name, k, m, layouts, seconds, rounds, size)
                _print_row(point, columns)
                yield point
        print(f"  {name}: equal to {exact:.0e} in float64; pictures {_spell(layouts)}")


def _print_row(point: dict, columns: list[str]) -> None:
    head = f"{point['network']:11}{point['K']:2}{point['M']:3}"
    cells = "".join(f"{point['ms'][c]:15.2f}" for c in columns)
    strategy = point["strategy"]
    speed, plan = point["per_second"][f"mpkit {strategy}"], point["plans"][strategy]
    print(f"{head}{cells}{speed:13.1f}{point['ratio']:8.2f}  {strategy}, {plan}", flush=True)


def _spell(layouts: dict[str, str]) -> str:
    return ", ".join(f"{layout} for {peer}" for peer, layout in layouts.items())


def summarise(points: list[dict]) -> dict[str, float]:
    ratios = [p["ratio"] for p in points]
    return {"smallest_ratio": min(ratios), "median_ratio": median(ratios)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="for each point of the grid")
    parser.add_argument(
        "--rounds", type=int, default=5, help="at least so many, or 3 of long ones (default: 5)"
    )
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 5], metavar="K")
    parser.add_argument("--models", nargs="+", type=int, default=[1, 8], metavar="M")
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    points = list(run(a.networks, a.steps, a.models, a.seconds, a.rounds))
    ends = summarise(points)
    print(
        f"mpkit against the best peer: {ends['smallest_ratio']:.2f} times as fast at the least, "
        f"{ends['median_ratio']:.2f} in the median"
    )
    write_json(a.json, {"points": points} | ends)


if __name__ == "__main__":
    main()
