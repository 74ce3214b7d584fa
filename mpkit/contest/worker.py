"""A team's work, in a process of its own: ``python -P -m mpkit.contest.worker``, a job on stdin.

A job is a JSON object, and so is each line of the answer. The clock of each target starts when
everything is loaded, and is looked at after every batch; whoever overruns it says so and ends. What
never looks at the clock is killed from outside (see `mpkit.contest.apart`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mpkit.contest.apart import Fault
from mpkit.contest.limits import limits_of
from mpkit.contest.pictures import Poisons, check
from mpkit.data.archives import DataError
from mpkit.data.schema import strict
from mpkit.defenses.defense import Defense
from mpkit.device import out_of_memory
from mpkit.metapoison import poisons_of
from mpkit.runs.prepared import Prepared, prepare
from mpkit.runs.record import RecordError, load_poisons, save_poisons
from mpkit.runs.saved import from_dict

PARENT = os.getppid()
"""Who waits for what comes of it."""


class Overrun(Exception):
    """A team's time is over."""


@contextlib.contextmanager
def _given() -> Iterator[None]:
    """For what is done with nothing that the team has handed in."""
    try:
        yield
    except Exception as error:
        raise Fault(why(error)) from error


def clock(seconds: float) -> Callable[..., None]:
    """To be called again and again; raises Overrun when so much processor time is over: a team's
    clock stands still while others have the machine."""
    end = time.process_time() + seconds

    def look(*_) -> None:
        if os.getppid() != PARENT:
            raise Overrun("nobody waits for it any more")
        if time.process_time() > end:
            raise Overrun(
                f"it took more than the {seconds:g} seconds of processor time that are allowed"
            )

    return look


def crafted(job: dict) -> Iterator[dict]:
    """A red team's poisons, target by target."""
    limits = limits_of(job["limits"])
    for number, row, folder in job["targets"]:
        ready = prepare(from_dict(row), progress=False)
        began, look = time.process_time(), clock(limits.craft_seconds)
        for state, _ in ready.craft(tell=look):  # noqa: B007 (the last is wanted)
            look()
        found = poisons_of(ready.scenario, state, ready.attack.settings).cpu()
        poisons = Poisons(found, ready.scenario.bases.cpu())
        check(poisons, ready.scenario.train, limits)
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_poisons(Path(folder), *poisons)
        yield {"target": number, "seconds": round(time.process_time() - began, 1)}


def judged(job: dict) -> Iterator[dict]:
    """Victims under a defense, or without one: of each target, every red team's poisons."""
    defense = Defense(**job["defense"]) if job["defense"] else None
    for number, row, reds in job["targets"]:
        with _given():
            ready = prepare(from_dict(row), progress=False)
        for red, folder in reds:
            with _given():
                mine, arm = _with_poisons(ready, folder), "poisoned" if folder else "clean"
            began = time.process_time()
            *_, (_, victims) = mine[0].judge(mine[1], (arm,), clock(job["seconds"]), defense)
            yield {
                "red": red,
                "target": number,
                "successes": sum(sum(v.success) for v in victims),
                "n": sum(len(v.success) for v in victims),
                # Who diverged reads nothing, and is no reason to leave it out.
                "accuracy": sum(v.accuracy or 0.0 for v in victims) / len(victims),
                "seconds": round(time.process_time() - began, 1),
            }


def _with_poisons(ready: Prepared, folder: str | None) -> tuple[Prepared, Tensor]:
    """The attack with the rows that a folder's poisons replace, and these; None: with its own."""
    if folder is None:
        return ready, (255 * ready.scenario.base_images).round().to(torch.uint8)
    pictures, rows = load_poisons(Path(folder))
    scenario = replace(ready.scenario, bases=rows.to(ready.scenario.bases.device))
    return replace(ready, scenario=scenario), pictures


WORK = {"craft": crafted, "judge": judged}


def bound_memory(gigabytes: float) -> None:
    """Where the system can: what a team takes beyond it fails here, and nowhere else."""
    if torch.cuda.is_available():  # whose driver reserves more than it uses
        return
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        most = int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def why(error: Exception) -> str:
    """What a team lost its round by, in words."""
    if isinstance(error, MemoryError) or out_of_memory(error):
        return "it needs more memory than is allowed"
    return str(error) if isinstance(error, Overrun | ValueError) else f"it failed: {error!r}"


def answer_to(error: Exception) -> dict:
    """{"lost": …}, or {"fault": …} for what the team could not help."""
    none = isinstance(error, OSError | Fault | RecordError | DataError)
    return {"fault" if none and getattr(error, "errno", 0) != errno.ENOMEM else "lost": why(error)}


def main() -> None:
    """Do the job on stdin, and answer on stdout."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer
    job = json.loads(sys.stdin.buffer.read())
    bound_memory(job["memory"])
    try:
        for row in WORK[job["what"]](job):
            print(json.dumps(strict(row), allow_nan=False), file=out, flush=True)
    except Exception as error:
        print(json.dumps(answer_to(error), allow_nan=False), file=out, flush=True)


if __name__ == "__main__":
    main()
