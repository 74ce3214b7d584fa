"""What a piece of work costs: its time, and the most memory that it holds at once.

Torch's profiler reports every allocation and release on the CPU; their running sum has a peak. It
is the same in every run, ignores fragmentation, needs no fresh process, and leaves out what was
there before: inputs and weights. What the process takes from the system (resident memory) is
larger, depends on what ran before, and never shrinks, which is why it is not used here.
Only work of the calling thread is seen.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
import warnings
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it writes a line for every start and stop
_one_at_a_time = threading.Lock()


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that was allocated at once while ``work()`` ran, beyond what was there before."""
    work()  # whatever is set up once and kept does not count
    with (
        _one_at_a_time,
        warnings.catch_warnings(action="ignore"),  # some versions of torch say that old events go
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen,
    ):
        work()
    now = peak = 0
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        if event.device_type() == torch.autograd.DeviceType.CPU:
            now += event.nbytes()
            peak = max(peak, now)
    return peak


TIMES = 3


def begin() -> None:
    """To be called in the main thread before others measure: there the profiler wants to begin."""
    if torch.profiler.kineto_available():
        peak_bytes(lambda: None)


def cost(work: Callable[[], object], times: int = TIMES) -> tuple[float, float | None]:
    """Milliseconds, the median of so many times, and megabytes at the peak; None where this torch
    has no profiler that could tell."""
    memory = peak_bytes(work) / 1e6 if torch.profiler.kineto_available() else None
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took), memory
