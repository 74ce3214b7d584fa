"""Meta-gradients per second: mpkit beside higher, TorchOpt, JAX and plain torch.autograd.

    python tests/benchmarks/meta_gradients.py [--threads 1] [--compiled] [--json FILE]

All contenders compute the same meta-gradient (checked first, and once a network in float64) and are
timed in turns in one process, with all threads or with one. One meta-gradient is one model's; with
M models the peers go through them one after the other, or stacked ("JAX vmap"), or one process a
core ("processes": plain autograd; where there are several cores and models); mpkit takes the plan
that the library takes. Times are medians over at least five rounds, or over three where a round
takes longer than --seconds. "begins in" is what the first calls take beyond what they take later:
tracing, compiling, jit. A ratio above 1 says that mpkit, traced, is faster than the fastest peer.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from statistics import median

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
from bench.contender import LAYOUTS
from bench.contenders import PEERS, Peers, begin, check, contenders, our_plan, peers
from bench.pool import Pool, pool
from bench.problem import SIZES, make_problem

from mpkit.device import Plan, cores

OURS = {
    "mpkit traced": ("adjoint", "traced"),
    "mpkit plain": ("adjoint", "plain"),
    "mpkit reverse": ("reverse", "traced"),
    "mpkit forward": ("forward over reverse", "traced"),
}
"""Name → strategy, and how it is run."""

COMPILED = {"mpkit compiled": ("adjoint", "compiled")}
TRACED = next(iter(OURS))


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a run measures with: the peers that are here, `mine` as in `OURS`, and how long."""

    others: Peers
    mine: dict[str, tuple[str, str]] = dataclasses.field(default_factory=OURS.copy)
    threads: str = "all"
    seconds: float = 4
    rounds: int = 5
    pool: Pool | None = None
    sizes: dict = dataclasses.field(default_factory=SIZES.copy)

    def all_of(self, problem, layouts: dict[str, str], plan: Plan):
        return contenders(problem, self.mine, plan, self.others, layouts, self.pool)


def best_layouts(name: str, setup: Setup) -> dict[str, str]:
    """How each peer prefers pictures to lie in memory, measured with K = 1 and one model."""
    if name == "mlp":
        return dict.fromkeys(setup.others, "plain")
    problem, best = make_problem(name, 1, 1, size=setup.sizes[name]), {}
    for peer, make in setup.others.items():
        work = {layout: make(problem, layout) for layout in LAYOUTS}
        begin(work)
        times = in_turns(work, 0, setup.rounds)
        best[peer] = min(work, key=lambda layout: medians(times[layout]).wall)
    return best


def check_exactly(name: str, layouts: dict[str, str], setup: Setup) -> float:
    """In float64 to a relative 1e-9, mpkit's models one by one and stacked: the largest difference.

    K = 2, M = 2 and a small batch: what is true of 20 rows is true of 125.
    """
    shape, batch, rows = setup.sizes[name]
    problem = make_problem(name, 2, 2, torch.float64, (shape, min(batch, 20), min(rows, 5)))
    mine = {f"{who}, stacked": how for who, how in setup.mine.items() if how[1] != "compiled"}
    stacked = contenders(problem, mine, Plan(2), {}, layouts)
    answers, _ = begin(stacked | setup.all_of(problem, layouts, Plan()))
    return check(answers, 1e-9)


def measure(name: str, steps: int, models: int, layouts: dict[str, str], setup: Setup) -> dict:
    """One point of the grid: for each contender milliseconds per meta-gradient, on the wall and of
    all processors, and the seconds that it takes to begin."""
    problem = make_problem(name, steps, models, size=setup.sizes[name])
    plan = our_plan(problem, setup.threads)
    work = setup.all_of(problem, layouts, plan)
    answers, began = begin(work)
    if problem.has_stats:
        # In float32 batch norm magnifies what rounding does to pools and ReLUs near a tie, so that
        # whoever adds up in another order is a few per cent off: float64 tells equal from unequal.
        exact = make_problem(name, steps, models, torch.float64, setup.sizes[name])
        error = check(begin(setup.all_of(exact, layouts, plan))[0], 1e-9)
    else:
        error = check(answers, 1e-3)
    times = in_turns(work, setup.seconds, setup.rounds, limit=3 * setup.seconds)
    spent = {who: medians(t) for who, t in times.items()}
    wall = {who: 1000 * s.wall / models for who, s in spent.items()}
    fastest = min((who for who in work if who not in setup.mine), key=wall.get)
    return {
        "network": name,
        "K": steps,
        "M": models,
        "threads": setup.threads,
        "ms": wall,
        "processor_ms": {who: 1000 * s.processor / models for who, s in spent.items()},
        "begins_in": {w: max(0.0, began[w] - work[w].calls * spent[w].wall) for w in work},
        "first": min(wall, key=wall.get),
        "best_peer": fastest,
        "ratio": wall[fastest] / wall[TRACED],
        "plan": str(plan),
        "layouts": layouts,
        "rounds": len(times[fastest]),
        "difference": error,
    }


def run(
    setup: Setup,
    names: Sequence[str] = tuple(SIZES),
    steps: Sequence[int] = (1, 2, 5),
    models: Sequence[int] = (1, 8),
) -> Iterator[dict]:
    """The points of the grid, one after the other, printed as they come."""
    for name in names:
        layouts = best_layouts(name, setup)
        exact = check_exactly(name, layouts, setup)
        print(f"\n{name}: equal to {exact:.0e} in float64; pictures {_spell(layouts)}")
        if name == "convnet-bn" and "mpkit forward" in setup.mine:
            print("  (mpkit forward: with plain batch norm, as mpkit's own has no forward mode)")
        for k in steps:
            for m in models:
                point = measure(name, k, m, layouts, setup)
                report(point)
                yield point


def report(point: dict) -> None:
    """A point in full: a line for each contender, the fastest first."""
    head = f"{point['network']}, K = {point['K']}, M = {point['M']} ({point['plan']})"
    print(f"\n{head:48}{'ms':>10}{'processor':>11}{'begins in':>12}")
    for who in sorted(point["ms"], key=point["ms"].get):
        wall, used = point["ms"][who], point["processor_ms"][who]
        print(f"  {who:46}{wall:10.2f}{used:11.2f}{point['begins_in'][who]:10.2f} s", flush=True)


def report_all(points: list[dict]) -> None:
    """The table: ms per meta-gradient, who comes first, and the ratio."""
    columns = list(dict.fromkeys(who for p in points for who in p["ms"]))
    print(f"\nms per meta-gradient, --threads {points[0]['threads']}")
    print(f"{'network':11}{'K':>2}{'M':>3}" + "".join(f"{c:>15}" for c in columns), end="")
    print("   ratio  first")
    for p in points:
        cells = "".join(f"{p['ms'][c]:15.2f}" if c in p["ms"] else f"{'–':>15}" for c in columns)
        head = f"{p['network']:11}{p['K']:2}{p['M']:3}"
        print(f"{head}{cells}{p['ratio']:8.2f}  {p['first']}")
    print("seconds to begin, at the most")
    most = {c: max(p["begins_in"].get(c, 0) for p in points) for c in columns}
    print(" " * 16 + "".join(f"{most[c]:15.2f}" for c in columns))


def _spell(layouts: dict[str, str]) -> str:
    return ", ".join(f"{layout} for {peer}" for peer, layout in layouts.items())


def summarise(points: list[dict]) -> dict[str, float]:
    ratios = [p["ratio"] for p in points]
    return {"smallest_ratio": min(ratios), "median_ratio": median(ratios)}


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="for each point of the grid")
    parser.add_argument(
        "--rounds", type=int, default=5, help="at least so many, or 3 of long ones (default: 5)"
    )
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 5], metavar="K")
    parser.add_argument("--models", nargs="+", type=int, default=[1, 8], metavar="M")
    parser.add_argument("--compiled", action="store_true", help="mpkit compiled, too (minutes)")
    names = [who for who in PEERS if who != "autograd"]
    parser.add_argument("--without", nargs="+", choices=names, default=[], metavar="PEER")
    add_threads(parser)
    add_json(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    a = options(arguments)
    limit_threads(a.threads)
    mine = OURS
    if a.compiled:
        mine = OURS | COMPILED
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # or it compiles only once, ever
    print(headline())
    processes = cores() if a.threads == "all" and max(a.models) > 1 else 1
    with pool(processes) as made:
        setup = Setup(peers(a.without), mine, a.threads, a.seconds, a.rounds, made, SIZES)
        points = list(run(setup, a.networks, a.steps, a.models))
    report_all(points)
    ends = summarise(points)
    print(
        f"mpkit against the best peer: {ends['smallest_ratio']:.2f} times as fast at the least, "
        f"{ends['median_ratio']:.2f} in the median"
    )
    write_json(a.json, {"points": points} | ends)


if __name__ == "__main__":
    main()
