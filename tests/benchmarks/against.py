"""Meta-gradients by this checkout and by another one of the project, say of the commit before.

    git worktree add /tmp/before HEAD~1
    python tests/benchmarks/against.py /tmp/before [--threads 1] [--json FILE]

Both packages are loaded into one process, the other one first. They are handed the same weights,
batches and poisons, must give the same answers, and are timed in turns, each by the strategy
("auto") and the plan that it picks for itself. Other checkouts may have today's interface or the
one before it, where a `Network` computed M models at once; of any other this says so and ends.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

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
from bench.contenders import begin, check, our_plan, ours
from bench.problem import CLASSES, SIZES, Problem, make_problem, margin

USED = ("batches", "device", "functional", "metagradient", "networks", "tracing")


def load(path: Path) -> dict[str, ModuleType]:
    """Those modules in `USED` that the package of another checkout has; this one's stay."""
    if not (path / "mpkit" / "__init__.py").is_file():
        raise SystemExit(f"{path} is no checkout: it has no mpkit/__init__.py")
    mine = {name: sys.modules.pop(name) for name in list(sys.modules) if _of_package(name)}
    sys.path.insert(0, str(path))
    try:
        there = [name for name in USED if (path / "mpkit" / f"{name}.py").is_file()]
        return {name: importlib.import_module(f"mpkit.{name}") for name in there}
    except ImportError as error:
        raise SystemExit(f"{path} has an interface that this does not know: {error}") from error
    finally:
        sys.path.remove(str(path))
        for name in [name for name in sys.modules if _of_package(name)]:
            del sys.modules[name]
        sys.modules.update(mine)


def _of_package(name: str) -> bool:
    return name.partition(".")[0] == "mpkit"


def interface(path: Path, theirs: dict[str, ModuleType]) -> Callable[..., Contender]:
    """What makes a contender of them: `stacked` or `single`."""
    if set(USED) <= set(theirs):
        strategy = theirs["metagradient"].METAGRADIENTS.get("auto")
        if strategy and next(iter(inspect.signature(strategy).parameters)) == "module":
            return single
    elif set(USED) - {"tracing"} <= set(theirs) and hasattr(theirs["device"], "choose_plan"):
        return stacked
    raise SystemExit(
        f"{path} has an interface that this does not know: neither today's, strategies of one "
        "module and `traced`, nor the one before, a Network of M models and `choose_plan`"
    )


def stacked(theirs: dict[str, ModuleType], problem: Problem, threads: str) -> Contender:
    """M models at once, under the plan that a measurement picks."""
    name, _, models, _, size = problem.how
    net = theirs["networks"].network(name, (size or SIZES[name])[0], CLASSES)
    state, b = theirs["functional"].State(*problem.state), problem.batches
    x, y = b.x.transpose(0, 1).contiguous(), b.y.transpose(0, 1).contiguous()
    strategy = theirs["metagradient"].METAGRADIENTS["auto"]

    def adversarial(w, x):
        pixels = problem.target.expand(*x.shape[:-4], *problem.target.shape)
        return margin(net(w, pixels, train=False)[0])

    def work(some: slice):
        batches = theirs["batches"].Batches(x[:, some], y[:, some], b.slot[some])
        given = problem.poisons, state.pick(some), batches, problem.lr[some]
        return strategy(net, adversarial, *given).gradient

    device = theirs["device"]
    if threads == "1":
        device.cores = lambda: 1
    plan = device.choose_plan(
        "against",
        lambda plan: plan.map(work, models),
        models,
        torch.device("cpu"),
        stacking=not net.convolutional,
    )
    return Contender(lambda: sum(plan.map(work, models)))


def single(theirs: dict[str, ModuleType], problem: Problem, threads: str) -> Contender:
    """One model at a time, traced where they can trace, under `plan_for`'s plan."""
    functional, metagradient = theirs["functional"], theirs["metagradient"]
    name, _, models, _, size = problem.how
    module = functional.own(theirs["networks"].network(name, (size or SIZES[name])[0], CLASSES))
    target, strategy = problem.target, metagradient.METAGRADIENTS["auto"]

    def one(module, state, poisons, batches, lr, target):
        def adversarial(w, x):
            return margin(functional.logits(module, w, target, train=False)[0])

        return strategy(module, adversarial, poisons, state, batches, lr)

    f = theirs["tracing"].traced(one, module)

    def work(some: slice, *given):
        state, batches, lr = given
        return f(state, problem.poisons, batches, lr, target).gradient

    state = functional.State(*problem.state)
    batches = theirs["batches"].Batches(*problem.batches)
    device = theirs["device"]
    plan = device.Plan() if threads == "1" else device.plan_for(models, torch.device("cpu"))
    calls = theirs["tracing"].PATIENCE + 2

    def run():
        split = getattr(device, "for_models", None) or functional.for_models  # its place before
        return split(plan, models, work, state, batches, problem.lr).sum(0)

    return Contender(run, calls)


def measure(
    point: tuple[str, int, int],
    theirs: tuple[Callable, dict[str, ModuleType]],
    seconds: float,
    rounds: int,
    threads: str = "all",
    *,
    size=None,
) -> dict:
    """One point (network, K, M) of the grid: milliseconds per meta-gradient of either."""
    make, modules = theirs
    problem = make_problem(*point, size=size)

    def both(problem: Problem) -> dict[str, Contender]:
        mine = ours(problem, "auto", our_plan(problem, threads))
        return {"new": mine, "old": make(modules, problem, threads)}

    work = both(problem)
    answers, _ = begin(work)
    if problem.has_stats:  # float32 would tell too little: see meta_gradients.py
        check(begin(both(make_problem(*point, torch.float64, size)))[0], 1e-9)
    else:
        check(answers, 1e-3)
    spent = {who: medians(t) for who, t in in_turns(work, seconds, rounds).items()}
    each = {who: [1000 * t / point[2] for t in s] for who, s in spent.items()}
    return {
        **dict(zip(("network", "K", "M"), point, strict=True)),
        "ms": {who: wall for who, (wall, _) in each.items()},
        "processor_ms": {who: used for who, (_, used) in each.items()},
        "ratio": each["old"][0] / each["new"][0],
        "processor_ratio": each["old"][1] / each["new"][1],
    }


def report(p: dict) -> None:
    head = f"{p['network']:11}{p['K']:2}{p['M']:3}"
    wall, used = (f"{p[key]['old']:12.2f}{p[key]['new']:9.2f}" for key in ("ms", "processor_ms"))
    print(f"{head}{wall}{p['ratio']:8.2f}{used}{p['processor_ratio']:8.2f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, nargs="?", help="the other checkout")
    parser.add_argument("--seconds", type=float, default=4, help="for each point of the grid")
    parser.add_argument("--rounds", type=int, default=5, help="at least so many")
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 5], metavar="K")
    parser.add_argument("--models", nargs="+", type=int, default=[1, 8], metavar="M")
    add_threads(parser)
    add_json(parser)
    a = parser.parse_args(arguments)
    if a.path is None:
        return print("Nothing to compare with: name another checkout (see --help).")
    limit_threads(a.threads)
    modules = load(a.path)
    theirs = interface(a.path, modules), modules
    print(f"{headline()}\nms per meta-gradient, --threads {a.threads}:")
    print(f"{'network':11}{'K':>2}{'M':>3}{'old wall':>12}{'new':>9}{'ratio':>8}", end="")
    print(f"{'old proc.':>12}{'new':>9}{'ratio':>8}")
    points = []
    for point in ((n, k, m) for n in a.networks for k in a.steps for m in a.models):
        points.append(measure(point, theirs, a.seconds, a.rounds, a.threads))
        report(points[-1])
    write_json(a.json, {"points": points})


if __name__ == "__main__":
    main()
