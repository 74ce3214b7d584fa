"""Work spread over processes; what comes of it is given as it is done."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

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
