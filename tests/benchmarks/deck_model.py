"""On paper: how long the talk's result takes on one, four and eight H100s, and what bounds it.

    python tests/benchmarks/deck_model.py [--scenario deck-dog-bird] [--ranks 1,4,8] [--check FILE]

Every operation below a meta-gradient and a training step is counted on torch's device "meta"
(`mpkit.runs.trial`). It takes as long as the slowest of three: its arithmetic, the bytes that it
reads and writes, its start. Nothing is fused and nothing overlaps. Rates and shares of them are
assumptions, see `H100`. --check FILE applies the same sums to what scaling.py measured (its --json)
by ceilings of this machine that are measured now, and says how far off they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mpkit import make_attack
from mpkit.ensemble import Ensemble
from mpkit.evaluation.targets import MODELS
from mpkit.modes import Mode
from mpkit.ranks import Ranks
from mpkit.runs import ceilings
from mpkit.runs.attack import Attack
from mpkit.runs.counting import counted
from mpkit.runs.needs import needs
from mpkit.runs.trial import META, SURROGATE, VICTIM, Piece, Sizes, pieces, sizes_of
from mpkit.streams import batches_of

ARITHMETIC, MEMORY, STARTS = "arithmetic", "memory", "starts"


@dataclasses.dataclass(frozen=True)
class Machine:
    """What one rank reaches: operations and bytes a second, seconds to start an operation; bytes a
    second to another rank, and seconds until they set out. `side` models share an operation."""

    name: str
    operations: float
    memory: float
    start: float
    link: float
    latency: float
    side: int | None = None


H100 = Machine(
    "H100",
    operations=0.3 * 494e12,  # TF32, dense, of the data sheet; small convolutions reach less
    memory=0.7 * 3.35e12,  # HBM3, of the data sheet
    start=5e-6,  # without CUDA graphs; with them about 1e-6
    link=0.7 * 450e9,  # NVLink 4, one way, of the data sheet
    latency=2e-5,
)
FLOAT32 = dataclasses.replace(H100, name="H100, float32", operations=0.3 * 67e12)
GRAPHS = dataclasses.replace(H100, name="H100, CUDA graphs", start=1e-6)


class Operations(Mode):
    """Notes what each operation asks: its arithmetic, and the bytes that it touches."""

    def __init__(self):
        super().__init__()
        self.found: list[tuple[float, float]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out, formula = func(*args, **kwargs), flop_registry.get(func._overloadpacket)
        if any(r.alias_info is None or r.alias_info.is_write for r in func._schema.returns):
            touched = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
            asks = float(formula(*args, **kwargs, out_val=out)) if formula else 0.0
            self.found.append((asks, float(sum(t.nbytes for t in touched))))
        return out


def operations(piece: Piece) -> list[tuple[float, float]]:
    """Of one model's piece, one after another."""
    with Operations() as noted:
        counted(lambda *given: piece.f(piece.module, *piece.fixed, *given), *piece.given)
    return noted.found


def spent(found: list[tuple[float, float]], machine: Machine, models: int) -> dict[str, float]:
    """Seconds that so many models take for a piece each, by what bounds its operations."""
    total = dict.fromkeys((ARITHMETIC, MEMORY, STARTS), 0.0)
    side = min(models, machine.side or models)
    for asks, touched in found:
        of = {
            ARITHMETIC: asks * side / machine.operations,
            MEMORY: touched * side / machine.memory,
            STARTS: machine.start,
        }
        bound = max(of, key=of.get)
        total[bound] += of[bound] * models / side if models else 0.0
    return total


def ring(size: float, ranks: int, machine: Machine) -> float:
    """Seconds of an all-reduce of `size` bytes by a ring."""
    if ranks == 1:
        return 0.0
    return 2 * (ranks - 1) * (size / ranks / machine.link + machine.latency)


def ordered(size: float, ranks: int, machine: Machine) -> float:
    """Seconds of mpkit's sum, from rank to rank in the order of the models, and its broadcast."""
    return 0.0 if ranks == 1 else ranks * (size / machine.link + machine.latency)


def started(attack: Attack, epoch: int, step: list, machine: Machine, ranks: int) -> dict:
    """Seconds until all surrogates have their ages, of the rank that takes longest: the last has
    the oldest. `epoch` steps make one older; fewer and fewer share them, see `Ensemble.start`."""
    s, found = attack.settings, []
    for rank in range(ranks):
        ages = Ensemble(s.models, s.recipe, s.seed, s.stagger, Ranks(rank, ranks)).ages(0)
        total = dict.fromkeys((ARITHMETIC, MEMORY, STARTS), 0.0)
        for left in range(1, max(ages, default=0) + 1):
            for bound, took in spent(step, machine, sum(age >= left for age in ages)).items():
                total[bound] += took * epoch
        found.append(total)
    return max(found, key=lambda total: sum(total.values()))


def predicted(attack: Attack, sizes: Sizes, machine: Machine, ranks: int) -> dict[str, object]:
    """Seconds of an attack's crafting, of its poisoned victims, and of the whole command."""
    found, asked = pieces(attack, sizes), needs(attack, sizes, torch.device("cuda"))
    seen = {name: operations(piece) for name, piece in found.items()}
    models, victims = attack.settings.models, attack.victims
    size = 4.0 * math.prod(sizes.shape) * asked.poisons

    def part(counts: Mapping[str, float], of: int) -> dict[str, float]:
        """`counts` are of all `of` models; the rank with the most of them is waited for."""
        own, total = math.ceil(of / ranks), dict.fromkeys((ARITHMETIC, MEMORY, STARTS), 0.0)
        for name, count in counts.items():
            for bound, took in spent(seen[name], machine, own).items():
                total[bound] += took * count / of
        return total

    own, crafting = attack.settings, {META: asked.counts[META]}
    epoch = batches_of(sizes.train, min(own.recipe.batch, sizes.train))
    ages = Ensemble(models, own.recipe, own.seed, own.stagger).ages(0)
    crafting[SURROGATE] = asked.counts[SURROGATE] - sum(ages) * epoch
    finding = MODELS * (attack.target_index is None)
    each = asked.counts[VICTIM] / (3 * victims + finding)
    sums = attack.settings.craft_steps
    return {
        "ranks": ranks,
        "start": started(attack, epoch, seen[SURROGATE], machine, ranks),
        "crafting": part(crafting, models),
        "ordered sums": sums * ordered(size, ranks, machine),
        "ring": sums * ring(size, ranks, machine),
        "poisoned victims": part({VICTIM: each * victims}, victims),
        "all victims": part({VICTIM: each * 3 * victims}, 3 * victims),
        "target": part({VICTIM: each * finding}, finding) if finding else {},
        "bytes summed": size,
        "operations": asked.operations,
    }


def told(found: dict[str, object]) -> list[str]:
    """A line a part: minutes, and what bounds it."""
    lines = []
    for name in ("start", "crafting", "poisoned victims", "all victims", "target"):
        if total := sum((bounds := found[name]).values()):
            shares = ", ".join(f"{b} {t / total:.0%}" for b, t in bounds.items())
            lines.append(f"{name:17} {total / 60:8.1f} min  ({shares})")
    size = found["bytes summed"] / 1e6
    lines.append(
        f"sums of {size:.1f} MB   {found['ordered sums']:8.3f} s in order, {found['ring']:.3f} s "
        "by a ring, in all craft steps"
    )
    return lines


def here() -> Machine:
    """One thread of this machine, one model at a time, by ceilings measured now."""
    torch.set_num_threads(1)
    rates = {r.what: r for r in ceilings.ceilings(torch.device("cpu"), torch.float32)}
    busy = rates[ceilings.CONVOLUTION].operations, rates[ceilings.COPY].moved
    cores = torch.get_num_threads() and ceilings.cores()
    return Machine("one core here", busy[0] / cores, busy[1] / cores, 5e-6, busy[1], 1e-3, 1)


def check(measured: dict, machine: Machine) -> list[str]:
    """How far the same sums are from what scaling.py measured, for one rank and for several."""
    import scaling

    attack = scaling.problem(measured["size"], measured["steps"])
    found, sizes = pieces(attack, sizes_of(attack)), sizes_of(attack)
    counts, lines = needs(attack, sizes, torch.device("cpu")).counts, []
    steps, models = measured["steps"], attack.settings.models
    share = steps / attack.settings.craft_steps
    epochs = attack.victim_recipe.epochs
    asked = {"crafting": {META: counts[META] * share}, "victims": {}}
    batches = -(-sizes.train // attack.settings.recipe.batch)
    apart = steps * models * batches  # surrogates' own steps
    asked["crafting"][SURROGATE] = apart
    asked["victims"][VICTIM] = models * (epochs - 1) * batches
    for what, own in asked.items():
        seconds = {}
        for ranks in (1, measured["ranks"]):
            mine = math.ceil(models / ranks)
            seconds[ranks] = sum(
                sum(spent(operations(found[name]), machine, mine).values()) * count / models
                for name, count in own.items()
            )
            times = sorted(measured["seconds"][what][str(ranks)])
            real = times[len(times) // 2]
            lines.append(
                f"{what:9} {ranks} rank{'s' * (ranks > 1)}: on paper {seconds[ranks]:6.2f} s, "
                f"measured {real:6.2f} s ({seconds[ranks] / real - 1:+.0%})"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="deck-dog-bird")
    parser.add_argument("--ranks", default="1,4,8")
    parser.add_argument("--check", type=Path, metavar="FILE", help="what scaling.py --json wrote")
    options = parser.parse_args()
    if options.check:
        machine = here()
        rates = f"{machine.operations:.2e} operations/s, {machine.memory:.2e} bytes/s"
        print("\n".join([rates, *check(json.loads(options.check.read_text()), machine)]))
        return
    attack = make_attack(scenario=options.scenario)
    sizes = sizes_of(attack)
    for machine in (H100, FLOAT32, GRAPHS):
        for ranks in map(int, options.ranks.split(",")):
            print(f"\n{machine.name} x {ranks}")
            print("\n".join(told(predicted(attack, sizes, machine, ranks))))


if __name__ == "__main__":
    main()
