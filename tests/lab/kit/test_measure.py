"""What work costs, where the answer is known. Peaks: tests/course/test_measure.py."""

from __future__ import annotations

import subprocess
import sys
import threading

import torch

from mpkit.lab.kit.measure import cost, peak_bytes
from tests.conftest import ROOT

MIB = 2**20


def megabyte() -> torch.Tensor:
    return torch.zeros(MIB // 4)


def test_time_is_the_median_of_some_calls_and_memory_the_peak(monkeypatch):
    clock = iter([0, 5, 10, 11, 20, 22])  # 5, 1 and 2 seconds
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    milliseconds, megabytes = cost(megabyte)
    assert milliseconds == 2000
    assert MIB <= 1e6 * megabytes < 1.1 * MIB


def test_a_torch_without_its_profiler_measures_no_memory(monkeypatch):
    monkeypatch.setattr("torch.profiler.kineto_available", lambda: False)
    assert cost(megabyte)[1] is None


def test_two_threads_measure_one_after_the_other():
    found = []
    threads = [threading.Thread(target=lambda: found.append(peak_bytes(megabyte))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert all(MIB <= n < 1.1 * MIB for n in found)


def test_a_thread_can_measure_without_a_word_once_the_main_one_has_begun():
    script = (
        "import threading, torch; from mpkit.lab.kit.measure import begin, peak_bytes\n"
        "begin()\n"
        "work = lambda: print(peak_bytes(lambda: torch.zeros(1000)))\n"
        "t = threading.Thread(target=work); t.start(); t.join()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert int(done.stdout) >= 4000
    assert done.stderr == ""
