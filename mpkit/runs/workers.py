"""Work spread over processes, or ranks; what comes of it is given as it is done."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

from mpkit.device import Plan, cores, pick_device
from mpkit.ranks import Ranks

Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Task], Iterable[Result]]
DONE = "done"


class WorkerLost(ValueError):
    """A process of ours that is there no more."""


def spread(work: Work, tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    """All that `work(task)` yields, of every task, in the order in which it is done; with one
    process here and in order. `work`, tasks and results are pickled.

    What work raises is raised here, and ends it all; WorkerLost where a process was killed.
    """
    if min(processes, len(tasks)) <= 1:
        for task in tasks:
            yield from work(task)
        return
    context, left = multiprocessing.get_context("spawn"), list(reversed(tasks))
    ends = {}
    try:
        for _ in range(min(processes, len(tasks))):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, work), daemon=True)
            process.start()
            there.close()  # so that the end of the process is the end of the pipe
            ends[here] = process
            here.send(left.pop())
        while ends:
            for pipe in wait(list(ends)):
                kind, found = _received(pipe)
                if kind == DONE and left:
                    pipe.send(left.pop())
                elif kind == DONE:
                    _end(ends.pop(pipe))
                else:
                    yield found
    finally:
        for process in ends.values():
            _end(process)


def share_of_cores(ranks: Ranks) -> int:
    """How many of this host's cores a rank may take, which others of the host's ranks want too."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size)))


def plan_beside(device: str, processes: int, ranks: Ranks) -> Plan | None:
    """How one of several computes that share this host's cores: with its own part of them. None,
    as it comes, for one alone, and for ranks on GPUs."""
    if ranks.size > 1:
        return Plan(1, share_of_cores(ranks)) if pick_device(device).type == "cpu" else None
    return Plan(1, 1) if processes > 1 else None


def processes_for(device: str, asked: int | None, tasks: int) -> int:
    """How many processes so many tasks are spread over: as many as were `asked` for, or else as
    there are cores, and one where a GPU is shared. Raises ValueError for less than one."""
    if asked is not None and asked < 1:
        raise ValueError(f"workers must be at least 1, not {asked}")
    cpu = pick_device(device).type == "cpu"
    return max(1, min(tasks, asked or (cores() if cpu else 1)))


def shared(work: Work, tasks: Sequence[dict], ranks: Ranks) -> Iterator[dict]:
    """As `spread`, over `ranks`: who is free takes the next of the first rank's tasks. Tasks and
    rows are JSON objects. The first gets all rows; the others, which follow (`follow`), none."""
    tasks, store = ranks.told(list(tasks)), ranks.store
    name = f"shared/{next(ranks.waiting.numbers)}"
    had = 0

    def others() -> Iterator[dict]:
        nonlocal had
        while had < store.add(f"{name}/rows", 0):
            had += 1
            yield json.loads(store.get(f"{name}/row/{had}"))

    while (task := store.add(f"{name}/taken", 1) - 1) < len(tasks):
        for row in work(tasks[task]):
            if ranks.first:
                yield row
                yield from others()
            else:
                place = store.add(f"{name}/rows", 1)
                store.set(f"{name}/row/{place}", json.dumps(row, allow_nan=False))
    store.add(f"{name}/ended", 1)
    while ranks.first:
        with ranks.waiting():
            all_ended = store.add(f"{name}/ended", 0) == ranks.size
            time.sleep(0 if all_ended else 0.2)
        yield from others()
        if all_ended:
            return


def follow(work: Work, ranks: Ranks) -> int:
    """What a rank does that is not the first, while that one is in `shared`; then an exit code."""
    for _ in shared(work, (), ranks):
        pass
    return 0


def done_by(work: Work, tasks: Sequence[dict], processes: int, ranks: Ranks) -> Iterator[dict]:
    """All that `work(task)` yields, over the ranks if there are several, or else over so many
    processes of this one."""
    if ranks.size > 1:
        return shared(work, tasks, ranks)
    return spread(work, tasks, processes)


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _received(pipe: Connection) -> tuple[str, object]:
    try:
        kind, found = pipe.recv()
    except EOFError:
        raise WorkerLost(
            "a process of this command was killed, as the system does where memory runs out: use "
            "fewer --workers, and give the same command again"
        ) from None
    if isinstance(found, BaseException):
        raise found
    return kind, found


def _serve(pipe: Connection, work: Work) -> None:
    """What a process does: one task after another, until it is killed or nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that kills it
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            task = pipe.recv()
            try:
                for found in work(task):
                    pipe.send(("result", found))
            except Exception as error:
                pipe.send(("error", error))
            pipe.send((DONE, None))
