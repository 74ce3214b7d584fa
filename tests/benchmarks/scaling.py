"""What a second rank gives: one single-threaded process against two of them, on two cores.

    python tests/benchmarks/scaling.py [--rounds 3] [--ranks 2] [--json FILE]

Crafting with ConvNet, and victims, at a small size. Each trial is a start of `torchrun`, one rank
and several in turns. Start-up does not count: the clock starts once all ranks have done a first
craft step, and a first epoch of victims, and stops when the last rank is done. Before any time is
told, poisons and victims' answers must be the same bits. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from statistics import median

import torch
from bench.clock import add_json, headline, write_json

from mpkit import make_attack
from mpkit.device import Plan
from mpkit.group import joined
from mpkit.metapoison import poisons_of
from mpkit.ranks import ALONE, Ranks
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import Prepared, prepare

SIZES = {
    "usual": {"n_train": 500, "batch": 125, "models": 4, "network": "convnet"},
    "tiny": {"n_train": 60, "batch": 20, "models": 2, "network": "mlp"},
}
ARMS = ("poisoned", "clean")


def problem(size: str, steps: int) -> Attack:
    """Signs of 32 x 32 pixels, surrogates that are as many as victims."""
    sizes = SIZES[size]
    models = sizes["models"]
    more = {"victims": models // len(ARMS), "victim_epochs": 2 * steps + 1, "victim_decays": ()}
    more |= {"craft_steps": steps + 1, "epochs": models, "unroll_steps": 2, "budget": 0.1}
    more |= {"decays": (), "warmup": 0, "craft_warmup": 0, "craft_decays": (), "lr": 0.02}
    there = {"data": "signs", "n_test": 50, "target_index": (0,), "device": "cpu"}
    return make_attack(**sizes, **more, **there)


def trial(size: str, steps: int) -> None:
    """One rank's part; the first prints seconds and digests as JSON."""
    torch.set_num_threads(1)
    with joined(lambda text: print(text, file=sys.stderr)) as group:
        ranks = group.ranks if group else ALONE
        alone = Plan(chunk=1, workers=1)
        ready = prepare(problem(size, steps), False, alone, alone)
        found = measured(dataclasses.replace(ready, ranks=ranks), ranks)
        if ranks.first:
            print(json.dumps(found, allow_nan=False), flush=True)


def measured(ready: Prepared, ranks: Ranks) -> dict[str, object]:
    """Seconds of craft steps and of victims' epochs, each without the first, and what came out."""

    def together() -> float:
        ranks.collected("there")
        ranks.told("all are")
        return time.perf_counter()

    run = ready.craft()
    next(run)
    began = together()
    (state, _), *_ = deque(run, maxlen=1)
    crafted = together() - began
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    epochs = ready.judge(poisons, ARMS)
    next(epochs)
    began = together()
    (_, records), *_ = deque(epochs, maxlen=1)
    judged = together() - began
    text = json.dumps([dataclasses.asdict(r) for r in records], default=str, allow_nan=False)
    return {
        "crafting": crafted,
        "victims": judged,
        "bits": [digest(poisons.cpu().numpy().tobytes()), digest(text.encode())],
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def start(count: int, size: str, steps: int) -> dict[str, object]:
    """A trial on `count` ranks. Raises RuntimeError with what they said where it fails."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    own = [__file__, "--trial", "--size", size, "--steps", str(steps)]
    command = [sys.executable, *(torchrun if count > 1 else []), *own]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{count} ranks ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(ranks: int, rounds: int, size: str, steps: int) -> dict[str, object]:
    """Trials on one rank and on several in turns: their times, and the ratios of the medians.
    Raises ValueError where they differ in a bit."""
    times = {what: {1: [], ranks: []} for what in ("crafting", "victims")}
    bits = set()
    for turn in range(rounds):
        for count in (1, ranks) if turn % 2 == 0 else (ranks, 1):
            found = start(count, size, steps)
            bits.add(tuple(found["bits"]))
            if len(bits) > 1:
                raise ValueError(f"one rank and {ranks} give other bits: {sorted(bits)}")
            for what, own in times.items():
                own[count].append(found[what])
    ratios = {what: median(own[1]) / median(own[ranks]) for what, own in times.items()}
    seconds = {what: {str(n): own[n] for n in own} for what, own in times.items()}
    how = {"size": size, "steps": steps, "ranks": ranks}
    return how | {"seconds": seconds, "ratios": ratios, "bits": sorted(bits)[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="trials of each (3)")
    parser.add_argument("--steps", type=int, default=2, help="craft steps that count (2)")
    parser.add_argument("--size", choices=SIZES, default="usual")
    parser.add_argument("--trial", action="store_true", help=argparse.SUPPRESS)
    add_json(parser)
    options = parser.parse_args()
    if options.trial:
        trial(options.size, options.steps)
        return
    torch.set_num_threads(1)
    print(headline(), "a rank")
    found = compare(options.ranks, options.rounds, options.size, options.steps)
    for what, ratio in found["ratios"].items():
        one, several = (found["seconds"][what][str(n)] for n in (1, options.ranks))
        print(
            f"{what:9}  1 rank {median(one):6.2f} s  {options.ranks} ranks {median(several):6.2f} s"
            f"  ratio {ratio:.2f}  (n = {len(one)} each, the same bits)"
        )
    write_json(options.json and Path(options.json), found)


if __name__ == "__main__":
    main()
