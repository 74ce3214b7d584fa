"""A group of ranks: how a process joins it, and how all of it ends when one is lost.

`torchrun` (or any launcher that says RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT) starts the
processes. Beside its work each tells the others every second that it is there. One that dies, or
does nothing without waiting for anybody, ends the others, with one message.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch
import torch.distributed as dist

from mpkit.ranks import ALONE, Ranks

BEAT = 1.0
"""Seconds between two signs of life."""
PATIENCE = 30.0
"""Seconds without one after which a rank is lost; MPKIT_PATIENCE says otherwise."""
FOR_EVER = timedelta(days=30)
"""How long a rank waits for others: those that are lost are found by their signs of life."""


def launched() -> bool:
    """Whether a launcher made this process one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def patience() -> float:
    """Raises ValueError for a MPKIT_PATIENCE that is no number of seconds."""
    said = os.environ.get("MPKIT_PATIENCE", str(PATIENCE))
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 3 * BEAT <= seconds <= 86_400:
        raise ValueError(f"MPKIT_PATIENCE is {said!r}: say seconds, from {3 * BEAT:g} to 86400")
    return seconds


class Group:
    """The group that this process is in. `speak` prints what all have to say; `advice()` is how to
    go on after an end that nobody wanted."""

    def __init__(self, ranks: Ranks, store: dist.Store, speak: Callable[[str], None]):
        self.ranks, self.store, self.speak = ranks, store, speak
        self.advice: Callable[[], str] = lambda: "Give the same command again."
        self.patience, self.host = patience(), socket.gethostname()
        self.seen: dict[int, tuple[bytes, float]] = {}
        self.beats, self.busy = 0, 0.0
        self.error: BaseException | None = None
        self.signals, self._wake = os.pipe()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="mpkit group", daemon=True)

    # ── a process' own life ─────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to watch. Signals go to the watch: the main thread may be deaf, while it waits."""
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        self._beat()
        self.thread.start()

    def leave(self) -> None:
        """The work is done, here."""
        with self.ranks.waiting():
            self.ranks.collected("done")  # the first stays until all are
            self.ranks.told("done")
        self.over.set()
        self.thread.join()
        signal.set_wakeup_fd(-1)
        dist.destroy_process_group()

    def failed(self, code: int, text: str) -> None:
        """The work can't go on, for a reason that is this rank's; ends the process."""
        where = "" if self.ranks.first else f" (rank {self.ranks.rank} on {self.host})"
        self._end(code, f"{text}{where}")

    def broken(self, error: BaseException) -> None:
        """Something broke, perhaps as another rank is gone; ends the process."""
        self.error = error
        os.write(self._wake, bytes([signal.SIGTERM]))
        threading.Event().wait()  # the watch ends it

    # ── the watch ───────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        try:
            while not self.over.is_set():
                self._beat()
                self._follow()
                if lost := self._stale(self.patience):
                    self._lost(lost)
                ready, _, _ = select.select([self.signals], [], [], BEAT)
                if ready:
                    self._signalled(set(os.read(self.signals, 100)))
        except Exception as error:  # the store is gone, and the launcher with it
            self._exit(1, f"the group's launcher is gone ({error}). {self.advice()}")

    def _beat(self) -> None:
        """Tell that this rank waits for others, or computes: processor time has gone by."""
        busy = time.process_time() - time.thread_time()
        if self.ranks.waiting.depth or busy > self.busy + 1e-3:
            self.beats += 1
        self.busy = busy
        self.store.set(f"beat/{self.ranks.rank}", f"{self.beats} {self.host}")

    def _stale(self, seconds: float) -> list[int]:
        """The ranks from which nothing new was heard for so long."""
        now = time.monotonic()
        for r in set(range(self.ranks.size)) - {self.ranks.rank}:
            said = self.store.get(f"beat/{r}")
            if self.seen.get(r, (b"", 0.0))[0] != said:
                self.seen[r] = said, now
        return [r for r, (_, when) in sorted(self.seen.items()) if now - when > seconds]

    def _signalled(self, numbers: set[int]) -> None:
        if signal.SIGINT in numbers:
            self._end(130, "\n", advise=True)
        if signal.SIGTERM in numbers:  # by a launcher that saw one die; or by somebody
            began = time.monotonic()
            while time.monotonic() - began < 4 * BEAT:
                self.beats += 1
                self.store.set(f"beat/{self.ranks.rank}", f"{self.beats} {self.host}")
                self._follow()
                lost = self._stale(2.5 * BEAT)
                time.sleep(BEAT / 4)
            if lost:
                self._lost(lost)
            if self.error:
                where = f"on rank {self.ranks.rank} ({self.host})"
                text = f"mpkit: {where}: {type(self.error).__name__}: {self.error}. "
                self._end(1, text, advise=True)
            self._end(143, "mpkit: stopped. ", advise=True)

    def _lost(self, lost: list[int]) -> None:
        names = [f"rank {r} ({self.seen[r][0].decode().split()[-1]})" for r in lost]
        text = (
            f"mpkit: lost {' and '.join(names)}, which was killed, or did nothing "
            f"for {self.patience:g} s. "
        )
        self._end(1, text, lost, advise=True)

    def _end(self, code: int, text: str, lost: list[int] = (), advise: bool = False) -> None:
        """End all of the group, with one message: the first reason that is given counts. Who says
        it has the advice."""
        mine = {"code": code, "text": text, "lost": list(lost), "advise": advise}
        mine = json.dumps(mine)
        self.store.compare_set("end", "", mine)
        self._follow()

    def _follow(self) -> None:
        """End as somebody has said, if so: the first that is left prints why."""
        if not self.store.check(["end"]):
            return
        end = json.loads(self.store.get("end"))
        speaker = min(set(range(self.ranks.size)) - set(end["lost"]))
        text = end["text"] + (self.advice() if end["advise"] else "")
        self._exit(end["code"], text if speaker == self.ranks.rank else None)

    def _exit(self, code: int, text: str | None) -> None:
        if text is not None:
            self.speak(text)
        sys.stdout.flush()
        os._exit(code)  # the main thread may be waiting for one that is lost


_JOINED: list[Group] = []


def group() -> Group | None:
    """The group that this process is in."""
    return _JOINED[-1] if _JOINED else None


def ranks() -> Ranks:
    """The ranks of this process: one alone, where it is in no group."""
    return _JOINED[-1].ranks if _JOINED else ALONE


def join(speak: Callable[[str], None]) -> Group:
    """Join the group that the launcher made. NCCL between GPUs, gloo between CPUs; each process has
    the GPU of its number on this host. Raises ValueError where there are fewer GPUs."""
    if torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"process {local} of this host has no GPU of its own, as there are "
                f"{torch.cuda.device_count()}: start as many, or hide them (CUDA_VISIBLE_DEVICES=)"
            )
        torch.cuda.set_device(local)
    patience()
    given = {"timeout": timedelta(minutes=5)}
    store, rank, size = next(dist.rendezvous("env://", **given))
    watched, _, _ = next(dist.rendezvous("env://", **given))
    words, own = (dist.PrefixStore("mpkit", s) for s in (store, watched))
    found = Group(Ranks(rank, size, words), own, speak)
    found._beat()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=FOR_EVER)
    store.set_timeout(FOR_EVER)
    found.ranks.collected("here")
    found.ranks.told("here")
    found.start()
    _JOINED.append(found)
    return found


@contextlib.contextmanager
def joined(speak: Callable[[str], None]) -> Iterator[Group | None]:
    """Be in the group, if a launcher made one, and leave it at the end."""
    if not launched():
        yield None
        return
    found = join(speak)
    try:
        yield found
        found.leave()
    finally:
        _JOINED.remove(found)
