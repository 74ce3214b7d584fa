"""Drives an iterator in a background thread: run, pause, one step, stop, reset.

The library yields records and knows nothing of threads; the lab shows them and knows nothing of
loops. What stands between them is here. Widget messages are not handled while a cell runs, so the
work has to go on in a thread while the cell is long done.
"""

from __future__ import annotations

import contextlib
import enum
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from mpkit.lab.kit.threads import Worker

Item = TypeVar("Item")


class Phase(enum.Enum):
    """What a runner is doing; "…ing" is asked for and not reached, since a step is under way."""

    READY = "ready"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Nothing more will come; only a reset helps."""
        return self in (Phase.STOPPED, Phase.DONE, Phase.FAILED)


def how_to_run() -> str:
    """ "thread"; "sync" under MPKIT_SYNC=1, where a run is to end inside the cell (nbval and
    nbconvert); "chunks" on Colab, which shows no widget updates from a thread."""
    if os.environ.get("MPKIT_SYNC", "") not in ("", "0"):
        return "sync"
    return "chunks" if "google.colab" in sys.modules else "thread"


class Put(NamedTuple):
    """Yielded among the items by whoever has something to put in before the next one is done: `do`
    is called by the runner, if the run is still its own, and ``yield Put(do)`` gives what it
    returns. A run that was left goes no further. It is no step; without `do` it only asks that."""

    do: Callable[[], object] = lambda: None


class Left(Exception):
    """A run was stopped, or left, within a step."""


class _Job(Generic[Item]):
    """One run from its beginning: its iterator, and how many items are still asked for."""

    def __init__(self, make: Callable[[], Iterator[Item]]):
        self.make, self.items, self.owed, self.stop = make, None, 0.0, False
        self.answer: object = None

    def next(self) -> Item | Put:
        self.items = self.items if self.items is not None else self.make()
        if self.answer is None:
            return next(self.items)
        answer, self.answer = self.answer, None
        return self.items.send(answer)

    def close(self) -> None:
        if hasattr(self.items, "close"):
            self.items.close()


class Runner(Generic[Item]):
    """Takes items from ``make()`` and hands each to `on_item`, in a thread of its own.

    Whoever makes items changes nothing that others see: it hands over, as items and as `Put`, and
    the runner takes that from its present run only. So a step that was under way when a run was
    left is finished unseen.
    `on_change` is called after every change of `phase`, by the worker or by whoever pressed, but
    not by two at once; it must be quick. An exception in making or taking items ends the run and is
    kept in `error`. `history` holds the last items: give a small number where items are large.
    `chunk`: how many a press of ▶ brings where nothing runs in the background (see `how_to_run`).
    """

    def __init__(
        self,
        make: Callable[[], Iterator[Item]],
        on_item: Callable[[Item], object] = lambda item: None,
        on_change: Callable[[], object] = lambda: None,
        mode: str | None = None,
        chunk: int = 5,
        history: int = 10_000,
    ):
        self.make, self.on_item, self.on_change = make, on_item, on_change
        self.mode, self.chunk = mode or how_to_run(), chunk
        self.history: deque[Item] = deque(maxlen=history)
        self.phase, self.steps, self.error = Phase.READY, 0, None
        self._condition = threading.Condition()
        self._delivery = threading.RLock()  # held while an item is taken, and while all is reset
        self._telling = threading.RLock()  # another one: a press is answered meanwhile
        self._job: _Job[Item] | None = None
        self._thread: threading.Thread | None = None
        self._here = threading.local()  # .job: whose items this thread makes

    def run(self) -> None:
        """Go on to the end; without effect on a run that has ended."""
        self._go(math.inf if self.mode != "chunks" else self.chunk)

    def step(self) -> None:
        """One item, and then pause."""
        self._go(1)

    def pause(self) -> None:
        """Rest after the step that is under way, or within it (`breath`)."""
        with self._condition:
            if self.phase is not Phase.RUNNING:
                return
            self._job.owed, self.phase = 0, Phase.PAUSING
        self._changed()

    def stop(self) -> None:
        """End after the step that is under way, or within it; what was recorded stays."""
        with self._condition:
            if self._job is None or self.phase.ended:
                return
            self._job.stop, self.phase = True, Phase.STOPPING
            resting = self._thread is None
            self._condition.notify_all()
        self._changed()
        if resting:  # nobody else is there to end it
            self._end(self._job, Phase.STOPPED)

    def reset(self) -> None:
        """Forget everything and be ready; a step under way is finished unseen."""
        with self._delivery:
            with self._condition:
                self._abandon()
                self.history.clear()
                self.phase, self.steps, self.error = Phase.READY, 0, None
            self._changed()

    def close(self, timeout: float | None = None) -> bool:
        """Stop for good and wait: True if no thread is left."""
        with self._condition:
            thread = self._thread
            self._abandon()
            self.phase = self.phase if self.phase.ended else Phase.STOPPED
        if thread and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    @contextlib.contextmanager
    def forgetting(self) -> Iterator[None]:
        """After `close`: let go of all that it was made for, while nobody is told of anything."""
        with self._delivery, self._telling:
            self.make = self.on_item = self.on_change = lambda *_: iter(())
            self.error = None  # its traceback holds what was computed
            self.history.clear()
            yield

    @property
    def resting(self) -> bool:
        """For whoever takes an item: whether no other one is asked for."""
        return self.phase is not Phase.RUNNING or getattr(self._job, "owed", 0) <= 0

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being computed: True if that is so."""
        rest = (Phase.READY, Phase.PAUSED, Phase.STOPPED, Phase.DONE, Phase.FAILED)
        with self._condition:
            return self._condition.wait_for(lambda: self.phase in rest, timeout)

    def breath(self) -> Callable[..., None]:
        """For `make`, asked in its thread: to be called within a step that takes long, from any
        thread. It rests while the run is paused, and raises `Left` where nobody wants the step.
        What it is given is called first, if the run is still its own."""
        job = getattr(self._here, "job", None)
        return lambda note=lambda: None: self._breathe(job, note) if job else None

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _go(self, count: float) -> None:
        with self._condition:
            if self.phase.ended or self.phase is Phase.STOPPING:
                return
            self._job = self._job or _Job(self.make)
            job, job.owed, self.phase = self._job, count, Phase.RUNNING
            new = None
            if self.mode == "thread" and self._thread is None:
                new = Worker(lambda: self._work(job), "mpkit lab", lambda: self.close(0))
                self._thread = new
            self._condition.notify_all()
        try:
            self._changed()
        finally:  # whatever became of telling it
            if new:
                new.start()
            elif self.mode != "thread":
                self._work(job)

    def _abandon(self) -> None:
        """Part with the job: its worker will find out, and nothing it does is seen any more."""
        if self._job:
            self._job.stop = True
        if self._job and self._thread is None:
            self._job.close()
        self._job = self._thread = None
        self._condition.notify_all()

    def _work(self, job: _Job[Item]) -> None:
        self._here.job = job
        try:
            while self._may_go_on(job):
                try:
                    item = job.next()
                except StopIteration:
                    return self._end(job, Phase.DONE)
                with self._delivery:
                    if job is not self._job:
                        break
                    if isinstance(item, Put):
                        job.answer = item.do()
                        self._owe(job)
                        continue
                    self.steps += 1
                    self.history.append(item)
                    self.on_item(item)
            if job.stop:
                job.close()
                self._end(job, Phase.STOPPED)
        except Left:
            self._end(job, Phase.STOPPED)
        except Exception as error:  # whatever it is, it belongs into the panel
            with contextlib.suppress(Exception):
                job.close()
            self._end(job, Phase.FAILED, error)

    def _breathe(self, job: _Job[Item], note: Callable[[], object]) -> None:
        rested = False
        while True:
            with self._condition:
                if job is self._job:
                    note()
                if job.stop:
                    raise Left
                if self.phase is Phase.PAUSED:
                    self._condition.wait()
                    continue
                if self.phase is not Phase.PAUSING:
                    if rested and job.owed == 1:
                        job.owed = 0  # the step that is asked for is this one
                    return
                self.phase, rested = Phase.PAUSED, True
                self._condition.notify_all()
            self._changed()

    def _owe(self, job: _Job[Item]) -> None:
        """The step that was asked for is still to come; a pause need not wait for it."""
        with self._condition:
            job.owed += self.phase is Phase.RUNNING

    def _may_go_on(self, job: _Job[Item]) -> bool:
        """Whether to compute the next item; rests here while paused."""
        while True:
            with self._condition:
                if job.stop:
                    return False
                if job.owed > 0:
                    job.owed -= 1
                    return True
                if self.phase is Phase.PAUSED:
                    if self.mode != "thread":
                        return False
                    self._condition.wait()
                    continue
                self.phase = Phase.PAUSED
                self._condition.notify_all()
            self._changed()

    def _end(self, job: _Job[Item], phase: Phase, error: Exception | None = None) -> None:
        with self._condition:
            if job is not self._job:
                return
            self._job = self._thread = None
            self.phase, self.error = phase, error
            self._condition.notify_all()
        self._changed()

    def _changed(self) -> None:
        with self._telling:
            self.on_change()
