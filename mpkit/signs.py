"""Signs of life of a group's ranks, and which processes they are."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path

BEAT = 1.0
"""Seconds between two signs of life."""
PATIENCE = 30.0
"""Seconds without one after which a rank is lost; MPKIT_PATIENCE says otherwise."""


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


@dataclasses.dataclass
class Seen:
    """What was heard of a rank: how often it gave a sign of life, and how often it had gone on by
    then; when either was new; and which process it is."""

    signs: int = -1
    moves: int = -1
    alive: float = 0.0
    moved: float = 0.0
    process: Sequence = ("a host unknown", 0, "")

    def hear(self, said: bytes, now: float) -> None:
        signs, moves, *self.process = json.loads(said)
        self.alive = now if signs != self.signs else self.alive
        self.moved = now if moves != self.moves else self.moved
        self.signs, self.moves = signs, moves


def place() -> str:
    """Where this process' number is a number: a boot of a machine, and a container on it. "" where
    the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def end_sibling(process: int, where: str) -> None:
    """Kill a lost process of the same launcher on the same machine: one that is stopped would not
    hear its launcher. Nothing for any other."""
    if not where or where != place():
        return
    with contextlib.suppress(OSError):
        about = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
        if int(about.rpartition(")")[2].split()[1]) == os.getppid():
            os.kill(process, signal.SIGKILL)
