"""How long `import mpkit` takes beyond `import torch`, in fresh interpreters.

    python tests/benchmarks/import_time.py [--rounds 7] [--json FILE]

Two kinds of interpreters take turns: one imports torch, the other torch and then mpkit. The time of
`import mpkit` is taken inside the second; the difference of what the two take in all, with starting
and ending, is printed as a check.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.clock import add_json, headline, in_turns, medians, write_json

ROOT = Path(__file__).resolve().parents[2]

TORCH = "import torch"
BOTH = (
    "import sys, time, torch; n = len(sys.modules); t = time.perf_counter(); import mpkit; "
    "print(time.perf_counter() - t, len(sys.modules) - n)"
)


def interpreter(code: str, said: list[str]) -> None:
    """Run `code` in a fresh interpreter; what it prints is added to `said`."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    said.append(done.stdout)


def measure(rounds: int = 7, warm_up: int = 1) -> dict[str, float]:
    """Medians in seconds, and how many modules `import mpkit` loads that torch had not."""
    said: list[str] = []
    work = {
        "torch": lambda: interpreter(TORCH, []),
        "torch and mpkit": lambda: interpreter(BOTH, said),
    }
    in_turns(work, 0, warm_up)  # reads the files from disk, writes the bytecode
    said.clear()
    whole = {what: medians(times).wall for what, times in in_turns(work, 0, rounds).items()}
    inside = [line.split() for line in said]
    return {
        "import_mpkit": median(float(seconds) for seconds, _ in inside),
        "modules": int(inside[0][1]),
        "interpreter_with_torch": whole["torch"],
        "interpreter_with_both": whole["torch and mpkit"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    found = measure(a.rounds)
    more = found["interpreter_with_both"] - found["interpreter_with_torch"]
    print(
        f"import mpkit beyond import torch: {1000 * found['import_mpkit']:.0f} ms "
        f"and {found['modules']} modules; the whole interpreter takes {1000 * more:.0f} ms more "
        f"than the {1000 * found['interpreter_with_torch']:.0f} ms with torch alone"
    )
    write_json(a.json, found)


if __name__ == "__main__":
    main()
