"""Times that can be compared: taken in turns, in one process, and with the machine's name."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

import torch


def in_turns(
    work: dict[str, Callable[[], object]],
    seconds: float,
    rounds: int = 5,
    limit: float = float("inf"),
) -> dict[str, list[float]]:
    """Seconds of each call, round after round, each round in an order of its own.

    So whatever else the machine does meanwhile, and whatever a call leaves in its caches for the
    next, all of them suffer alike. Goes on until `seconds`
    have passed and `rounds` rounds are done; after `limit` seconds three rounds must do. Nothing is
    warmed up here.
    """
    names, times, mix = list(work), {name: [] for name in work}, random.Random(0)
    began, done, passed = time.perf_counter(), 0, 0.0
    while passed < seconds or done < (rounds if passed < limit else min(rounds, 3)):
        done += 1
        for name in mix.sample(names, len(names)):
            before = time.perf_counter()
            work[name]()
            times[name].append(time.perf_counter() - before)
        passed = time.perf_counter() - began
    return times


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "cpu": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def headline() -> str:
    m = machine()
    return f"torch {m['torch']}, {m['threads']} threads, {m['cpu']}"


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there too")


def write_json(path: Path | None, results: dict[str, object]) -> None:
    if path:
        path.write_text(json.dumps({"machine": machine()} | results, indent=1) + "\n")
