"""What a first run would wait for, done while the person still reads."""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading

from mpkit.lab.kit.threads import Worker


@functools.cache
def warm_up() -> threading.Thread:
    """Import torch's compiler, once per process, in a thread of its own.

    `torch.func.grad` imports it when it is first used, which takes a second. Where that fails here
    the first `grad` will say why.
    """
    thread = Worker(_import, "mpkit warm-up", lambda: None)
    thread.start()
    return thread


def _import(name: str = "torch._dynamo") -> None:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
