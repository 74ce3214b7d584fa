"""Threads that work for a panel, and are gone before Python is.

A thread that is inside torch while the interpreter is taken down comes back to nothing, and the
process aborts. So at the end all of them are asked to stop, and waited for.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable

PATIENCE = 2.0
"""Seconds before it is said what Python's end waits for."""


class Worker(threading.Thread):
    """A thread for `work`. `stop` is called, from another one, where Python ends: it asks `work` to
    end soon."""

    def __init__(self, work: Callable[[], object], name: str, stop: Callable[[], object]):
        super().__init__(target=work, name=name, daemon=True)  # else Python would wait, and not ask
        self.stop = stop


def end_all() -> None:
    """Stop all workers, and wait for the steps that are under way. Ctrl-C ends the process."""
    try:
        # Again and again: one that is asked to stop may still start another one.
        while workers := [t for t in threading.enumerate() if isinstance(t, Worker)]:
            for worker in workers:
                worker.stop()
            for worker in workers:
                worker.join(PATIENCE)
            if slow := [w for w in workers if w.is_alive()]:
                text = "mpkit: a lab is in the middle of a step; waiting for it (Ctrl-C: no more)"
                print(text, file=sys.stderr, flush=True)
                for worker in slow:
                    worker.join()
    except KeyboardInterrupt:
        os._exit(130)  # without what follows, which aborts


# Before thread pools close, or a step under way would fail for want of one; else as late as can be.
getattr(threading, "_register_atexit", atexit.register)(end_all)
