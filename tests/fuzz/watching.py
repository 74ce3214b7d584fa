"""What the fuzzers share: their arguments, and a call that may neither hang nor grow."""

from __future__ import annotations

import argparse
import random
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SECONDS, GROWTH = 5, 500_000  # of the processor's time; kB
ASLEEP = 60
"""Seconds after which what takes no processor's time hangs, also on a machine that is busy."""


class Slow(BaseException):
    """It hangs; no code catches it."""


def late(*_):
    raise Slow


def watched(call: Callable[[], str], allowed: tuple[type[Exception], ...]) -> tuple[str, str]:
    """How a call ended, and what is wrong with that, or "". The call itself says what is wrong with
    its result; it may also end in one of the `allowed` errors, with a message that is not long."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        end, wrong = _ended(call, allowed)
    except Slow:
        end, wrong = "slow", f"takes more than {SECONDS} s"
    if (grown := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) > GROWTH:
        wrong = wrong or f"grows by {grown // 1000} MB"
    return end, wrong and f"{end} after {time.process_time() - began:.1f} s: {wrong}"


def _ended(call: Callable[[], str], allowed: tuple[type[Exception], ...]) -> tuple[str, str]:
    """The same, but for what it took. Raises Slow."""
    timers = (signal.ITIMER_PROF, SECONDS), (signal.ITIMER_REAL, ASLEEP)
    for kind in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(kind, late)
    for timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        return "read", call()
    except allowed as error:
        return "refused", "" if len(str(error)) < 2000 else "a long message"
    except Exception as error:
        return "error", repr(error)[:200]
    finally:
        for timer, _ in timers:
            signal.setitimer(timer, 0)


def damaged(draw: random.Random, blob: bytes) -> bytes:
    """The same with a few bits turned, or some bytes replaced, taken out or doubled."""
    blob = bytearray(blob)
    for _ in range(draw.choice((1, 1, 3, 20))):
        where = draw.randrange(len(blob))
        if draw.random() < 0.5:
            blob[where] ^= 1 << draw.randrange(8)
        elif draw.random() < 0.5:
            blob[where : where + draw.randrange(20)] = draw.randbytes(draw.randrange(20))
        else:
            blob[where:where] = blob[max(0, where - 50) : where]
    return bytes(blob)


def peak() -> int:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


def arguments(doc: str, count: int) -> argparse.ArgumentParser:
    """How many, the seed, and the first number."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    return parser


def killing(doc: str, fuzz: Callable[[int, int, int, Path], list[str]]) -> int:
    """For scripts that kill runs: as asked for on the command line, 20 times by default, in a
    folder that goes afterwards; 1 if any failed."""
    options = arguments(doc, 20).parse_args()
    with tempfile.TemporaryDirectory() as parent:
        return bool(fuzz(options.count, options.seed, options.first, Path(parent)))
