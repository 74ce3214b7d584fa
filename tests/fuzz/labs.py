"""Hundreds of random sequences of what a hand may do, over all labs: see tests/lab/actions.py.

    python tests/fuzz/labs.py [--sequences 300] [--first 0] [--actions 30]

Prints every sequence that went wrong, by its seed, and a count; the exit status tells of any.
"""

from __future__ import annotations

import argparse
import collections
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.lab.actions import DRIVEN, drive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--actions", type=int, default=30)
    a = parser.parse_args()
    began, wrong, counts = time.perf_counter(), 0, collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MPKIT_DATA": f"{folder}/data", "MPKIT_SCALE": "ci"}
        for seed in range(a.first, a.first + a.sequences):
            kind = DRIVEN[seed % len(DRIVEN)]
            own = Path(folder) / str(seed)
            own.mkdir()
            told = drive(kind, seed, own, a.actions)
            wrong += bool(told)
            counts[kind.__name__] += 1
            if told:
                print(f"{told}\n{'─' * 80}", flush=True)
            if (seed - a.first) % 20 == 19:
                print(f"{seed + 1 - a.first} done, {wrong} wrong", flush=True)
    left = sum(t.name == "mpkit lab" for t in threading.enumerate())
    took = time.perf_counter() - began
    per = ", ".join(f"{name} {n}" for name, n in counts.items())
    print(f"{a.sequences} sequences in {took:.0f} s ({per}): {wrong} wrong, {left} threads left")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
