"""Work that is spread over processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from mpkit.device import Plan
from mpkit.ranks import ALONE, Ranks
from mpkit.runs.workers import (
    WorkerLost,
    done_by,
    follow,
    plan_beside,
    processes_for,
    shared,
    spread,
)


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


# ── over ranks ───────────────────────────────────────────────────────────────────────────────────


def ranks_of(size: int) -> list[Ranks]:
    store = HashStore()
    return [Ranks(r, size, store) for r in range(size)]


def in_threads(*work) -> list:
    with ThreadPoolExecutor(len(work)) as pool:
        return [job.result(60) for job in [pool.submit(one) for one in work]]


@pytest.mark.parametrize("tasks", [0, 1, 7])
def test_the_first_rank_gets_all_rows_and_every_rank_does_what_is_left(tasks):
    first, *others = ranks_of(3)
    everybody = threading.Barrier(3, timeout=60)
    doers = set()

    def work(task: dict) -> Iterator[dict]:
        if tasks >= 3 and task["number"] < 3:
            everybody.wait()  # three tasks at once are done by three ranks
        doers.add(threading.get_ident())
        yield task | {"part": 0}
        yield task | {"part": 1}

    given = [{"number": i} for i in range(tasks)]
    follower = [lambda r=r: follow(work, r) for r in others]
    found, *codes = in_threads(lambda: list(shared(work, given, first)), *follower)
    assert codes == [0, 0]
    rows = sorted((row["number"], row["part"]) for row in found)
    assert rows == [(i, part) for i in range(tasks) for part in (0, 1)]
    assert len(doers) >= min(3, tasks)


def test_two_rounds_do_not_meet():
    first, other = ranks_of(2)

    def work(task: dict) -> Iterator[dict]:
        yield task

    def leads() -> list:
        return [list(shared(work, [{"round": i}] * 2, first)) for i in range(2)]

    found, _ = in_threads(leads, lambda: [follow(work, other) for _ in range(2)])
    assert found == [[{"round": i}] * 2 for i in range(2)]


def test_one_rank_spreads_over_its_processes():
    found = list(done_by(counted, [3, 1], 1, ALONE))
    assert [row[:2] for row in found] == [(3, 0), (3, 1), (3, 2), (1, 0)]


@pytest.mark.parametrize(
    ("asked", "tasks", "found"), [(None, 9, 5), (None, 2, 2), (3, 9, 3), (3, 0, 1), (1, 9, 1)]
)
def test_as_many_processes_as_cores_and_no_more_than_tasks(monkeypatch, asked, tasks, found):
    monkeypatch.setattr("mpkit.runs.workers.cores", lambda: 5)
    assert processes_for("cpu", asked, tasks) == found


def test_no_process_is_too_few():
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        processes_for("cpu", 0, 3)


@pytest.mark.parametrize(
    ("size", "processes", "host", "found"),
    [(1, 1, None, None), (1, 4, None, Plan(1, 1)), (2, 1, None, Plan(1, 3)),
     (4, 1, None, Plan(1, 1)), (8, 1, "2", Plan(1, 3)), (16, 1, None, Plan(1, 1))],
)  # fmt: skip
def test_who_shares_cores_takes_a_part_of_them(monkeypatch, size, processes, host, found):
    monkeypatch.setattr("mpkit.runs.workers.cores", lambda: 6)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if host:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", host)
    ranks = dataclasses.replace(ALONE, size=size)
    assert plan_beside("cpu", processes, ranks) == found
