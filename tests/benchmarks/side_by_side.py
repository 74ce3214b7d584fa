"""Two at once: how much longer does a piece of the course take beside another of its kind?

    python tests/benchmarks/side_by_side.py [--rounds 3]

Each piece runs in a process of its own: alone, and as two at the same time, with one torch thread
an operation (what mpkit sets on a CPU) and with torch's own number. On two cores two processes of
one thread each need not disturb each other at all.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence

from bench.clock import add_json, headline, write_json

PIECE = """
import sys, time
import torch
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from mpkit.training import train
attack = make_attack("ci", data="digits", target_class="1", poison_class="7")
ready = prepare(attack, progress=False)
torch.set_num_threads(int(sys.argv[1]))
x, y = ready.scenario.train.x, ready.scenario.train.y
began = time.perf_counter()
for _ in train(ready.network, x, y, ready.attack.victim_recipe, [0, 1]):
    pass
print(time.perf_counter() - began)
"""


def seconds(threads: int, at_once: int) -> float:
    """Seconds that training two victims takes, the slowest of so many processes at once."""
    command = [sys.executable, "-c", PIECE, str(threads)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(at_once)]
    return max(float(p.communicate(timeout=300)[0].split()[-1]) for p in running)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    import torch

    found = {}
    for threads in dict.fromkeys((1, torch.get_num_threads())):
        for at_once in (1, 2):
            times = [seconds(threads, at_once) for _ in range(a.rounds)]
            found[f"{threads} threads, {at_once} at once"] = statistics.median(times)
            print(f"{threads} threads, {at_once} at once: {statistics.median(times):.2f} s")
    write_json(a.json, found)


if __name__ == "__main__":
    main()
