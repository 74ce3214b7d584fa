"""Attacks that differ in one thing, on the same targets: the tables of chapters 05 and 06.

    python tests/benchmarks/paired.py ages --out ages.jsonl --pairs 10 --pairs-seed 17000
    python tests/benchmarks/paired.py ages --out ages.jsonl --table

A study is a set of arms. Every target meets all of them, with the same seeds of surrogates, victims
and controls (which are trained once a target), so that arms can be compared target by target.
Targets, seeds and results are those of ``mpkit sweep``; what differs in the victims alone is
crafted once, and surrogates may be kept young or old. Results are appended target by target, and
the same command goes on where it was stopped. ``--table`` prints them as data/recorded/course.json
has them.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from itertools import permutations
from pathlib import Path

import torch

from mpkit import ARMS, draw_pairs, make_attack, metapoison, poisons_of, prepare
from mpkit.data.files import locked
from mpkit.ensemble import Ensemble, _put
from mpkit.evaluation.tally import tallies
from mpkit.functional import init, stack
from mpkit.runs import record
from mpkit.runs.prepared import clean_margins, load_scenario
from mpkit.streams import stream

SCRATCH = {"data": "signs", "fine_tune": "no", "models": 1, "epochs": 20, "unroll_steps": 4,
           "craft_steps": 20, "victims": 4}  # fmt: skip
PHOTOGRAPHS = {"data": "cifar10", "classes": ("airplane", "bird", "frog"), "fine_tune": "no",
               "models": 1, "epochs": 20, "unroll_steps": 4, "craft_steps": 20,
               "epsilon": "8/255", "victims": 4}  # fmt: skip
LAST = {"data": "signs", "victims": 4}
SHARES = {f"{share:.1%}": {"budget": share} for share in (0.005, 0.01, 0.02, 0.05, 0.1)}
AGES = {
    "1 model": {},
    "4 models, staggered": {"models": 4},
    "4 models, of one age": {"models": 4, "stagger": False},
    "1 model, always young": {"window": (0, 7)},
    "1 model, always old": {"window": (13, 20)},
}
STUDIES = {
    "ages": (SCRATCH, AGES | {"1 model, 4 × the steps": {"craft_steps": 80}}),
    "ages-cifar10": (PHOTOGRAPHS, AGES | {"1 model, 4 × the steps": {"craft_steps": 80}}),
    "budget": (LAST, SHARES),
    "dose": (LAST | {"budget": 0.02}, {
        f"ε = {e}/255, K = {k}": {"epsilon": f"{e}/255", "unroll_steps": k}
        for e in (2, 4, 8) for k in (1, 2, 5)
    }),
    "survey": (LAST | {"budget": 0.02, "victims": 6}, {"poisons": {}}),
    "recipes": (SCRATCH, {
        "as the surrogates": {},
        "half the learning rate": {"victim_lr": 0.05},
        "batches of 100": {"victim_batch": 100},
        "twice the epochs": {"victim_epochs": 40},
        "shifted pictures": {"victim_augment": True},
        "a ConvNet": {"victim_network": "convnet-small"},
        "the last layer of a pretrained ConvNet":
            {"victim_network": "convnet-small", "victim_fine_tune": "last"},
    }),
    "own": (SCRATCH, {"ConvNets against ConvNets": {"network": "convnet-small"}}),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Aged(Ensemble):
    """Surrogates that live between two ages only: trained on clean pictures up to the first, and
    replaced by other such ones when they reach the second."""

    window: tuple[int, int] = (0, 0)

    def _lives(self, step: int) -> list[tuple[int, int]]:
        """Of each: which life it is in, and how long it has lived within the window."""
        long = self.window[1] - self.window[0]
        apart = long if self.stagger else 0
        return [divmod(m * apart // self.models + step, long) for m in range(self.models)]

    def ages(self, step):
        return [self.window[0] + age for _, age in self._lives(step)]

    def seeds(self, step):
        lives = enumerate(life for life, _ in self._lives(step))
        return [stream(self.seed, "surrogate", m, life) for m, life in lives]

    def start(self, module, scenario, plan, tell=None):
        object.__setattr__(self, "scenario", scenario)
        return super().start(module, scenario, plan, tell)

    def reinitialised(self, module, state, step):
        for m in [m for m, (_, age) in enumerate(self._lives(step)) if step and age == 0]:
            seed = self.seeds(step)[m]
            new = stack([init(module, seed)])
            for age in range(self.window[0]):
                seen = [(seed, age)]
                new = self._clean_epoch(module, self.scenario, new, seen, True, count=_Untold)
            state = _put(state, [m], new)
        return state


class _Untold:
    over = staticmethod(lambda batches, models: batches)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--pairs-seed", type=int, default=17000)
    parser.add_argument("--table", action="store_true", help="what was found, as a table in JSON")
    parser.add_argument("--data", help="pictures instead of the study's, such as a copy of them")
    options = parser.parse_args(given)
    base, arms = STUDIES[options.study]
    base = base | ({"data": options.data} if options.data else {})
    out = options.out.resolve()
    refuse_others(out, base["data"], STUDIES[options.study][0]["data"])
    if options.table:
        found = table(base, arms, record.read_lines(out), options.pairs, options.pairs_seed)
        return print(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False))
    torch.set_num_threads(1)
    with locked(out.with_name(f".{out.name}.lock"), str(out)):
        study(base, arms, options.pairs, options.pairs_seed, out)


def refuse_others(out: Path, data: str, usual: str) -> None:
    """Raises SystemExit where `out` has results of other pictures than `data`."""
    for row in record.read_lines(out):
        if (there := row.get("data", usual)) != data:
            raise SystemExit(f"{out} has results of {there}, not of {data}: name another --out")


def study(base: dict, arms: dict, pairs: int, seed: int, out: Path) -> None:
    """All arms of one target, then the next; what `out` has is not done again."""
    done = {(tuple(row["pair"]), row["arm"]) for row in record.read_lines(out)}
    for pair, target in drawn(base, pairs, seed):
        for name, change in arms.items():
            if (pair, name) in done:
                continue
            first = not any((pair, other) in done for other in arms)
            row = {
                "data": base["data"],
                "pair": pair,
                "arm": name,
                "target": dataclasses.asdict(target),
            }
            record.append(out, [row | measure(base | change, pair, ARMS if first else ARMS[:1])])
            done.add((pair, name))
            print(*pair, name, sep=", ", flush=True)


def drawn(base: dict, count: int, seed: int) -> list:
    """(target class, poison class, index) of so many targets, and what is known of each."""
    attack = make_attack(**numbers(base), target_index=0)
    scenario = load_scenario(attack, progress=False)
    names, margins = scenario.train.classes, clean_margins(attack, scenario, progress=False)
    numbered = permutations(range(len(names)), 2)
    found = {(names[a], names[b]): margins.targets(a, b) for a, b in numbered}
    known = {(*pair, t.index): t for pair, targets in found.items() for t in targets if t.third}
    good = {pair: [t.index for t in targets if t.third] for pair, targets in found.items()}
    return [(pair, known[pair]) for pair in draw_pairs(names, count, seed, good)]


def measure(settings: dict, pair: tuple, arms) -> dict:
    window = settings.get("window")
    place = dict(zip(("target_class", "poison_class", "target_index"), pair, strict=True))
    attack = make_attack(**numbers(settings), **place, seed=stream(0, "pair", *pair))
    poisons, loss, seconds = crafted(attack.without_victims(), window)
    *_, (_, victims) = prepare(attack, progress=False).judge(poisons, arms)
    return {"loss": loss, "seconds": seconds, "victims": attack.victims, "arms": tallies(victims)}


@functools.lru_cache(1)
def crafted(attack, window) -> tuple:
    """Poisons, the surrogates' last loss, and the processor's seconds; once for all victims."""
    ready, began, usual = prepare(attack, progress=False), time.process_time(), metapoison.Ensemble
    try:
        if window:
            metapoison.Ensemble = lambda *given: Aged(*given, window=window)
        *_, (state, last) = ready.craft()
    finally:
        metapoison.Ensemble = usual
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    return poisons, round(last.loss, 2), round(time.process_time() - began, 1)


# ── tables ──────────────────────────────────────────────────────────────────────────────────────


def numbers(settings: dict) -> dict:
    """As `make_attack` takes them: without the ages, and with ε as a number."""
    found = {k: v for k, v in settings.items() if k != "window"}
    if "epsilon" in found:
        found["epsilon"] = int(found["epsilon"].removesuffix("/255")) / 255
    return found


def flags(settings: dict) -> str:
    """As the command line takes them; ages are no flag."""
    told = {k: ("no", "yes")[v] if isinstance(v, bool) else v for k, v in settings.items()}
    told = {k: ",".join(v) if k == "classes" else v for k, v in told.items() if k != "window"}
    return " ".join(f"--{k.replace('_', '-')} {v}" for k, v in told.items())


def table(base: dict, arms: dict, rows: list[dict], pairs: int, seed: int) -> dict:
    """Of the targets that all arms have met."""
    met = {(tuple(row["pair"]), row["arm"]): row for row in rows}
    whole = [p for p, _ in dict.fromkeys(met) if all((p, arm) in met for arm in arms)]
    targets = {pair: met[pair, next(iter(arms))]["target"] for pair in whole}
    own = {k: v for k, v in base.items() if (k, v) != ("data", "signs")}  # which is the usual
    found = []
    for arm, change in arms.items():
        mine = [met[pair, arm] for pair in targets]
        found.append(_row(arm, "poisoned", mine, flags(change)))
    controls = [[row for row in rows if tuple(row["pair"]) in targets and c in row["arms"]]
                for c in ARMS[1:]]  # fmt: skip
    return {
        "command": f"mpkit sweep {flags(own)} --pairs {pairs} --pairs-seed {seed}",
        "targets": [f"{a} → {b}, {t['third']}" for (a, b, _), t in targets.items()],
        "margins": [round(t["margin"], 1) for t in targets.values()],
        "rows": found,
        "controls": [_row(c, c, mine, "") for c, mine in zip(ARMS[1:], controls, strict=True)],
    }


def _row(label: str, arm: str, mine: list[dict], given: str) -> dict:
    each = [row["arms"][arm]["success"]["successes"] for row in mine]
    accuracy = sum(row["arms"][arm]["accuracy"] for row in mine) / len(mine)
    row = {"label": label, "successes": sum(each), "n": sum(r["victims"] for r in mine)}
    return row | {"flags": given, "accuracy": round(accuracy, 3), "each": each}


if __name__ == "__main__":
    main()
