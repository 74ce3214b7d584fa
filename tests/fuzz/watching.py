"""What the fuzzers share: their arguments, and a call that may neither hang nor grow."""

from __future__ import annotations

import argparse
import resource
import signal
import time
from collections.abc import Callable

SECONDS, GROWTH = 5, 500_000  # kB


class Slow(BaseException):
    """It hangs; no code catches it."""


def watched(call: Callable[[], str], allowed: tuple[type[Exception], ...]) -> tuple[str, str]:
    """How a call ended, and what is wrong with that, or "". The call itself says what is wrong with
    its result; it may also end in one of the `allowed` errors, with a message that is not long."""

    def late(*_):
        raise Slow

    signal.signal(signal.SIGALRM, late)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    signal.alarm(SECONDS)
    try:
        end, wrong = "read", call()
    except allowed as error:
        end, wrong = "refused", "" if len(str(error)) < 2000 else "a long message"
    except Slow:
        end, wrong = "slow", f"takes more than {SECONDS} s"
    except BaseException as error:
        end, wrong = "error", repr(error)[:200]
    finally:
        signal.alarm(0)
    if (grown := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) > GROWTH:
        wrong = wrong or f"grows by {grown // 1000} MB"
    return end, wrong and f"{end} after {time.perf_counter() - began:.1f} s: {wrong}"


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
