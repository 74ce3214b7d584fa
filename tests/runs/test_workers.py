"""Work that is spread over processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mpkit.runs.workers import WorkerLost, spread


def counted(task: int) -> Iterator[tuple[int, int, int]]:
    for i in range(task):
        yield task, i, os.getpid()


def refused(task: int) -> Iterator[int]:
    yield task
    raise ValueError(f"task {task} is refused")


def killed(task: int) -> Iterator[int]:
    yield task
    os.kill(os.getpid(), signal.SIGKILL)


def test_everything_comes_once_from_other_processes():
    found = list(spread(counted, [3, 1, 2, 0, 4], 2))
    assert sorted(r[:2] for r in found) == [(t, i) for t in (1, 2, 3, 4) for i in range(t)]
    assert os.getpid() not in {pid for *_, pid in found}


@pytest.mark.parametrize(("tasks", "processes"), [([2, 1], 1), ([3], 4), ([], 4)])
def test_one_process_or_task_is_done_here_and_in_order(tasks, processes):
    found = list(spread(counted, tasks, processes))
    assert found == [(t, i, os.getpid()) for t in tasks for i in range(t)]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_work_raises_is_raised_after_what_it_gave(processes):
    found = []
    with pytest.raises(ValueError, match="task 1 is refused"):
        found += [found.append(r) for r in spread(refused, [1, 1, 1], processes)]
    assert 1 in found


def test_a_process_that_is_killed_is_told_in_words():
    with pytest.raises(WorkerLost, match="fewer --workers"):
        list(spread(killed, [1, 2, 3], 2))


def test_nothing_is_left_running_where_nobody_listens_any_more():
    results = spread(counted, [10**9, 10**9], 2)
    *_, pid = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
