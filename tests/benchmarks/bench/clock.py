"""Times that can be compared: taken in turns, in one process, and with the machine's name."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

THREADS = ("all", "1")


class Spent(NamedTuple):
    """What a piece of work took: seconds on the wall, and seconds of all processors together."""

    wall: float
    processor: float


def once(work: Callable[[], object]) -> Spent:
    """What one call takes. Work done in other processes tells its processor time by itself: a
    method `processor` that gives all that it has used so far."""
    processor = getattr(work, "processor", time.process_time)
    wall, used = time.perf_counter(), processor()
    work()
    return Spent(time.perf_counter() - wall, processor() - used)


def in_turns(
    work: dict[str, Callable[[], object]],
    seconds: float,
    rounds: int = 5,
    limit: float = float("inf"),
) -> dict[str, list[Spent]]:
    """What each call takes, round after round, each round in an order of its own.

    So whatever else the machine does meanwhile, and whatever a call leaves in its caches for the
    next, all of them suffer alike. Goes on until `seconds` have passed and `rounds` rounds are
    done; after `limit` seconds three rounds must do. Nothing is warmed up here.
    """
    names, times, mix = list(work), {name: [] for name in work}, random.Random(0)
    began, done, passed = time.perf_counter(), 0, 0.0
    while passed < seconds or done < (rounds if passed < limit else min(rounds, 3)):
        done += 1
        for name in mix.sample(names, len(names)):
            times[name].append(once(work[name]))
        passed = time.perf_counter() - began
    return times


def medians(times: Sequence[Spent]) -> Spent:
    """The median of either time by itself."""
    return Spent(*(median(one) for one in zip(*times, strict=True)))


def limit_threads(threads: str) -> None:
    """To one thread ("1"): torch, and JAX if it has not been imported yet. "all" leaves them."""
    if threads == "1":
        torch.set_num_threads(1)
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
        os.environ["NPROC"] = "1"  # the size of XLA's pool of threads: the flags leave it as it is


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
    threads = f"{m['threads']} thread{'s' * (m['threads'] > 1)}"
    return f"torch {m['torch']}, {threads}, {m['cpu']}, {m['cores']} cores"


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", choices=THREADS, default="all", help="of every contender (default: all)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there too")


def write_json(path: Path | None, results: dict[str, object]) -> None:
    if path:
        path.write_text(
            json.dumps({"machine": machine()} | results, indent=1, allow_nan=False) + "\n"
        )
