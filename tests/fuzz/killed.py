"""Small runs killed (kill -9) at random moments, resumed, and compared with one that nobody killed.

    python tests/fuzz/killed.py [how many kills] [--seed 0] [--first 0]

Each number is a run of its own, killed once, or twice or thrice as it goes on; then resumed, and
every byte that was computed must be that of the whole run. A number is repeated by --first.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path

from mpkit.data.schema import SEAL

sys.path.insert(0, str(Path(__file__).parent))

from watching import killing

HOW = [
    "attack", "--scale", "ci", "--data", "digits", "--size", "10", "--n-train", "60", "--n-test",
    "100", "--models", "2", "--craft-steps", "6", "--epochs", "3", "--batch", "20",
    "--unroll-steps", "2", "--victims", "2", "--target-index", "0", "--target-class", "3",
    "--poison-class", "8", "--quiet",
]  # fmt: skip


def command(arguments: list[str], log: Path) -> None:
    """mpkit in a process of its own, which has it loaded already."""
    from mpkit.__main__ import main

    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.exit(main(arguments))


def computed(folder: Path) -> dict:
    """All that a run has computed: every byte, but for how long things took."""

    def timeless(name: str) -> list[dict]:
        rows = [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
        return [{k: v for k, v in row.items() if k not in ("seconds", SEAL)} for row in rows]

    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    del summary["seconds"]
    pictures = {p.name: p.read_bytes() for p in sorted((folder / "poisons").iterdir())}
    tensors = [(folder / f"{n}.safetensors").read_bytes() for n in ("state", "poisons")]
    names = sorted(p.name for p in folder.iterdir())
    lines = timeless("records.jsonl"), timeless("victims.jsonl")
    sheet = (folder / "summary.png").read_bytes()
    parts = {"summary": summary, "pictures": pictures, "tensors": tensors, "lines": lines}
    return parts | {"names": names, "sheet": sheet}


def how_to_go_on(folder: Path) -> list[str]:
    """How to go on: from the beginning where nothing was begun."""
    if (folder / "settings.json").exists():
        return ["attack", "--resume", str(folder), "--quiet"]
    return [*HOW, "--out", str(folder)]


class Runs:
    """Runs of one folder after the other, in processes that begin with torch loaded."""

    def __init__(self, parent: Path):
        method = "forkserver" if hasattr(os, "fork") else "spawn"
        self.parent, self.context = parent, multiprocessing.get_context(method)
        if method == "forkserver":
            self.context.set_forkserver_preload(["torch", "mpkit.cli.attack", "mpkit.runs.summary"])
        for _ in range(2):  # the first loads what both need
            shutil.rmtree(parent / "whole", ignore_errors=True)
            began = time.perf_counter()
            assert self.end(parent / "whole") == 0, (parent / "log").read_text()
            self.took = time.perf_counter() - began
        self.expected = computed(parent / "whole")

    def start(self, folder: Path):
        process = self.context.Process(
            target=command, args=(how_to_go_on(folder), self.parent / "log")
        )
        process.start()
        return process

    def end(self, folder: Path) -> int:
        process = self.start(folder)
        process.join(300)
        return process.exitcode

    def killed(self, number: int, seed: int) -> tuple[int, str]:
        """A run killed and resumed: how many kills hit it, and what is wrong with it, or ""."""
        draw, folder, hits = random.Random(f"{seed} {number}"), self.parent / "run", 0
        shutil.rmtree(folder, ignore_errors=True)
        for _ in range(draw.choice((1, 1, 2, 3))):
            process = self.start(folder)
            process.join(draw.uniform(0, self.took))
            hits += process.is_alive()
            process.kill()
            process.join()
        (self.parent / "log").write_text("")
        if (code := self.end(folder)) != 0:
            return hits, f"exit code {code}: {(self.parent / 'log').read_text()[-300:]}"
        with contextlib.suppress(OSError, ValueError, KeyError):
            found = computed(folder)
            return hits, ", ".join(k for k in found if found[k] != self.expected[k])
        return hits, "its folder can't be read"


def fuzz(count: int, seed: int, first: int, parent: Path) -> list[str]:
    """The failures of so many kills that hit a run; prints counts."""
    runs, failures, hits, number = Runs(parent), [], 0, first
    while hits < count:
        more, wrong = runs.killed(number, seed)
        hits += more
        if wrong:
            failures.append(f"{number}: {wrong}")
            print(failures[-1], flush=True)
        number += 1
    print(f"{hits} kills in {number - first} runs of {runs.took:.1f} s, {len(failures)} failures")
    return failures


if __name__ == "__main__":
    sys.exit(killing(__doc__, fuzz))
