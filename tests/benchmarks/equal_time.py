"""MetaPoison and its rivals at equal ε and equal wall time: who has more of the victims, and when.

    python tests/benchmarks/equal_time.py [--seconds 2,5,10,20,40] [--pairs 10] [--victims 4]

Of each pair that is drawn, and is a target, every method crafts with the settings that
are usual with it, but for restarts and decays, which want to know their end. Time counts from the
first surrogate's first step, on one core; what was finished by each of the seconds is judged by
fresh victims. Prints one row a method and time, with intervals by target.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence

from bench.clock import add_json, headline, write_json
from torch import Tensor

from mpkit.device import Plan, cores
from mpkit.evaluation.rates import clustered_rate
from mpkit.metapoison import poisons_of
from mpkit.runs.attack import make_attack
from mpkit.runs.grid import drawable
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import Prepared, load_scenario, prepare

ENDLESS = {"craft_steps": 100_000, "restarts": 1, "craft_decays": ()}


def by_then(ready: Prepared, seconds: Sequence[float]) -> dict[float, Tensor]:
    """Poisons after so many seconds of crafting; none for a time at which no step was finished."""
    began, last, found, left = time.perf_counter(), None, {}, sorted(seconds)
    for state, _ in ready.craft():
        now = time.perf_counter() - began
        while left and now > left[0]:
            found |= {left.pop(0): last}
        if not left:
            break
        last = poisons_of(ready.scenario, state, ready.attack.settings)
    return {t: poisons for t, poisons in found.items() if poisons is not None}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several = {"type": lambda text: text.split(",")}
    parser.add_argument("--methods", default=["metapoison", "gradient-matching"], **several)
    parser.add_argument("--seconds", default=["2", "5", "10", "20", "40"], **several)
    parser.add_argument("--fine-tune", choices=("no", "last"), default="no")
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--victims", type=int, default=4)
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    scene = {"data": "signs", "fine_tune": a.fine_tune, "victims": a.victims}
    seconds, turned = [float(t) for t in a.seconds], {}
    scenario = load_scenario(make_attack(a.scale, **scene, target_index=0), progress=False)
    tested = min(20, int(scenario.validation.y.bincount().min()))
    targets = drawable(make_attack(a.scale, **scene, target_index=0), progress=False).indices
    drawn = draw_pairs(scenario.train.classes, a.pairs, 2, tested)
    pairs = [(*classes, i) for *classes, i in drawn if i in targets[tuple(classes)]]
    print(f"{len(pairs)} targets; the other {len(drawn) - len(pairs)} that were drawn are none")
    for (true, wanted, index), method in itertools.product(pairs, a.methods):
        pair = {"target_class": true, "poison_class": wanted, "target_index": index}
        attack = make_attack(a.scale, **scene, **pair, method=method, **ENDLESS)
        several = Plan(1, min(cores(), a.victims))
        ready = prepare(attack, progress=False, plan=Plan(), victim_plan=several)
        for t, poisons in by_then(ready, seconds).items():
            *_, (_, victims) = ready.judge(poisons, ("poisoned",))
            turned.setdefault((method, t), []).append(sum(v.success[0] for v in victims))
    rows = []
    for (method, t), won in sorted(turned.items()):
        found = clustered_rate(won, [a.victims] * len(won))
        print(f"{method:<18} {t:>6g} s  {found}, of {len(won)} targets")
        rows.append({"method": method, "seconds": t, "turned": won, "victims": a.victims})
    write_json(a.json, {"fine_tune": a.fine_tune, "rows": rows})


if __name__ == "__main__":
    main()
