"""A group of ranks: how a process joins it, and how all of it ends when one is lost.

`torchrun` (or any launcher that says RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT) starts the
processes. Beside its work each tells the others every second that it is there. One that dies, or
does nothing without waiting for anybody, ends the others, with one message.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import MappingProxyType

import torch
import torch.distributed as dist

from mpkit.ranks import ALONE, Ranks
from mpkit.signs import BEAT, Seen, end_sibling, patience, place

MEETING = timedelta(minutes=5)
"""How long ranks wait for one another at the beginning."""
FOR_EVER = timedelta(days=30)
"""How long a rank waits for others: those that are lost are found by their signs of life."""


def launched() -> bool:
    """Whether a launcher made this process one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


class Group:
    """The group that this process is in. `speak` prints what all have to say; `advice()` is how to
    go on after an end that nobody wanted, and `keep()` saves what else would be lost."""

    def __init__(self, ranks: Ranks, store: dist.Store, speak: Callable[[str], None]):
        self.ranks, self.store, self.speak = ranks, store, speak
        self.advice: Callable[[], str] = lambda: "Give the same command again."
        self.keep: Callable[[], object] = lambda: None
        self.patience, self.host = patience(), socket.gethostname()
        self.seen: dict[int, Seen] = {}
        self.signs = self.moves = 0
        self.busy = self.unheard = 0.0
        self.last = time.monotonic()
        self.error: BaseException | None = None
        self.signals, self._wake = os.pipe()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._watch, self._guard)]
        store.set_timeout(timedelta(seconds=self.patience))

    # ── a process' own life ─────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin to watch. Signals go to the watch: the main thread may be deaf, while it waits."""
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        for thread in self.threads:
            thread.start()

    def leave(self) -> None:
        """The work is done, here; the first stays until it is everywhere."""
        if self.ranks.first:
            self.ranks.collected("done")
        else:
            self.store.append("gone", f" {self.ranks.rank}")
        self.over.set()
        os.write(self._wake, b"\0")
        for thread in self.threads:
            thread.join()
        signal.set_wakeup_fd(-1)
        if not self.ranks.first:
            self.ranks.collected("done")

    def failed(self, code: int, text: str) -> None:
        """The work can't go on, for a reason that is this rank's; ends the process. Where the first
        finds the same, it is the first that says so."""
        where = ""
        if not self.ranks.first:
            time.sleep(2 * BEAT)
            where = f" (rank {self.ranks.rank} on {self.host})"
        self._end(code, f"{text}{where}" if text else "")

    def broken(self, error: BaseException) -> None:
        """Something broke, perhaps as another rank is gone; ends the process."""
        self.error = error
        os.write(self._wake, bytes([signal.SIGTERM]))
        threading.Event().wait()  # the watch ends it

    # ── the watch ───────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        try:
            while not self.over.is_set():
                self.unheard = 0.0
                if time.monotonic() - self.last > 5 * BEAT:
                    self.seen.clear()  # it is this rank that was held up
                self.beat()
                self._follow()
                self._hear()
                if lost := self._stale("moved", self.patience):
                    self._lost(lost, f"did nothing for {self.patience:g} s")
                ready, _, _ = select.select([self.signals], [], [], BEAT)
                if ready:
                    self._signalled(set(os.read(self.signals, 100)))
        except Exception:  # the store is gone, and who had it
            self._left()

    def _guard(self) -> None:
        """End this rank where the store does not answer: the watch waits for it then."""
        while not self.over.wait(BEAT):
            self.unheard += BEAT  # counted, so that the time of a computer asleep is none
            if self.unheard > self.patience + 5 * BEAT:
                self._left()

    def _left(self) -> None:
        """End this rank, as nobody can be asked. One of each host speaks, where the launcher had
        the store, and else the next one."""
        launcher = "TORCHELASTIC_USE_AGENT_STORE" in os.environ
        who = "the launcher" if launcher else "rank 0"
        if not launcher and 0 in self.seen:
            who = f"rank 0 on {self.seen[0].process[0]}"
            end_sibling(*self.seen[0].process[1:])
        speaks = os.environ.get("LOCAL_RANK", "0") == "0" if launcher else self.ranks.rank == 1
        text = f"mpkit: lost {who}, which held the group together. {self.advice()}"
        self._exit(1, text if speaks else None)

    def beat(self) -> None:
        """A sign of life; and of work, where this rank waits for others, or computes: some of the
        time was processor time, beside what signs of life take."""
        busy, now = time.process_time() - time.thread_time(), time.monotonic()
        worked = busy - self.busy > 0.01 * (now - self.last)
        self.moves += worked or bool(self.ranks.waiting.depth)
        self.busy, self.last, self.signs = busy, now, self.signs + 1
        said = self.signs, self.moves, self.host, os.getpid(), place()
        self.store.set(f"beat/{self.ranks.rank}", json.dumps(said, allow_nan=False))

    def _hear(self) -> None:
        others = [r for r in range(self.ranks.size) if r != self.ranks.rank]
        said = self.store.multi_get([f"beat/{r}" for r in others])
        for r, signs in zip(others, said, strict=True):
            self.seen.setdefault(r, Seen()).hear(signs, time.monotonic())

    def _stale(self, what: str, seconds: float) -> list[int]:
        """The ranks that were not `alive`, or not `moved`, for so long."""
        since = time.monotonic() - seconds
        old = {r for r, seen in self.seen.items() if getattr(seen, what) < since}
        return sorted(old - self._gone()) if old else []

    def _gone(self) -> set[int]:
        """The ranks that have left, or know that they shall."""
        return set(map(int, self.store.get("gone").split()))

    def _signalled(self, numbers: set[int]) -> None:
        if signal.SIGINT in numbers:
            self._end(130, "\n", advise=True)
        if signal.SIGTERM in numbers:  # by a launcher that saw one die; or by somebody
            began = time.monotonic()
            while time.monotonic() - began < 4 * BEAT:
                self.beat()
                self._follow()
                self._hear()
                time.sleep(BEAT / 4)
            if lost := self._stale("alive", 2.5 * BEAT):
                self._lost(lost, "was killed")
            if self.error:
                where = f"on rank {self.ranks.rank} ({self.host})"
                text = f"mpkit: {where}: {type(self.error).__name__}: {self.error}. "
                self._end(1, text, advise=True)
            self._end(143, "mpkit: stopped. ", advise=True)

    def _lost(self, lost: list[int], how: str) -> None:
        names = [f"rank {r} on {self.seen[r].process[0]}" for r in lost]
        text = f"mpkit: lost {' and '.join(names)}, which {how}. "
        self._end(1, text, {r: self.seen[r].process for r in lost}, advise=True)

    def _end(self, code: int, text: str, lost: dict = MappingProxyType({}), advise=False) -> None:
        """End all of the group, with one message: the first reason that is given counts. Who says
        it has the advice."""
        mine = {"code": code, "text": text, "lost": dict(lost), "advise": advise}
        self.store.compare_set("end", "", json.dumps(mine, allow_nan=False))
        self._follow()

    def _follow(self) -> None:
        """End as somebody has said, if so: the first that is left prints why."""
        if not (said := self.store.get("end")):
            return
        end = json.loads(said)
        lost = {int(r) for r in end["lost"]}
        for _, process, where in end["lost"].values():
            end_sibling(process, where)
        speaker = min(set(range(self.ranks.size)) - lost)
        text = end["text"] + (self.advice() if end["advise"] else "")
        self.store.append("gone", f" {self.ranks.rank}")
        if self.ranks.first:  # which may have the store: until all have heard of it
            until = time.monotonic() + 3 * BEAT
            while self._gone() | lost < set(range(self.ranks.size)) and time.monotonic() < until:
                time.sleep(BEAT / 20)
        self._exit(end["code"], text if speaker == self.ranks.rank else None)

    def _exit(self, code: int, text: str | None) -> None:
        with contextlib.suppress(Exception):
            self.keep()
        if text:
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
    here = ("lo" if sys.platform == "linux" else "lo0") if os.name == "posix" else ""
    if here and os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", here)  # nobody else need reach it
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=MEETING))
        watched, _, _ = next(dist.rendezvous("env://", timeout=MEETING))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        given = {"store": store, "rank": rank, "world_size": size, "timeout": FOR_EVER}
        dist.init_process_group(backend, **given)
        store.set_timeout(MEETING)
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # a launcher's second try
        words, own = (dist.PrefixStore(f"mpkit/{again}", s) for s in (store, watched))
        found = Group(Ranks(rank, size, words), own, speak)
        for key in ("end", "gone"):
            own.compare_set(key, "", "")
        found.beat()
        found.ranks.collected("here")
        found.ranks.told("here")
        store.set_timeout(FOR_EVER)
    except RuntimeError as error:
        raise ValueError(f"the launched processes did not find each other: {error}") from error
    found.start()
    _JOINED.append(found)
    return found


@contextlib.contextmanager
def joined(speak: Callable[[str], None]) -> Iterator[Group | None]:
    """Be in the group, if a launcher made one, and leave it at the end."""
    if not launched():
        yield None
        return
    try:
        found = join(speak)
    except ValueError:
        if os.environ["RANK"] != "0":
            time.sleep(2 * BEAT)  # the first says it, and must not be ended by the launcher before
        raise
    try:
        yield found
        found.leave()
    finally:
        _JOINED.remove(found)
