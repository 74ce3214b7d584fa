"""Python ends while labs run: in order, and with nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from mpkit.lab.kit import threads
from tests.conftest import ROOT
from tests.lab.kit.conftest import WAIT

BUSY = """
import threading
import torch
from mpkit.lab.kit.runner import Runner

busy = threading.Barrier(3)

def items():
    x = torch.randn(1000, 1000)
    busy.wait()
    while True:
        x = torch.tanh(x @ x)  # in torch nearly all the time
        yield x

for _ in range(2):
    Runner(items, mode="thread").run()
busy.wait()
"""
LABS = """
import time
from mpkit import lab as labs
from tests.lab.conftest import SMALL

for name in labs.__all__:
    kind = getattr(labs, name)
    given = {} if name in ("UnrollLab", "ReplayLab", "LookaheadLab") else SMALL
    if name.endswith("Lab"):
        kind(**given).runner.run()
"""


def ended(script: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPKIT_SYNC": ""}
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120
    )


def test_python_ends_with_its_own_exit_code_while_runners_are_inside_torch():
    done = ended(BUSY + "raise SystemExit(3)")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr


def test_python_ends_while_every_lab_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path))
    done = ended(LABS)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_kernel_ends_while_runners_are_inside_torch():
    from jupyter_client.manager import KernelManager

    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(env=os.environ | {"PYTHONPATH": str(ROOT), "MPKIT_SYNC": ""})
    client = kernel.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        reply = client.execute(BUSY, reply=True, timeout=60)
        assert reply["content"]["status"] == "ok", reply
        process = kernel.provisioner.process
        client.shutdown()
        assert process.wait(60) == 0
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


@pytest.fixture
def slow(monkeypatch):
    """A worker that takes its time, and the event that lets it end."""
    go = threading.Event()
    monkeypatch.setattr(threads, "PATIENCE", 0.01)
    worker = threads.Worker(lambda: go.wait(WAIT), "slow", lambda: None)
    worker.start()
    yield worker, go
    go.set()
    worker.join()


def test_it_is_said_what_the_end_waits_for(slow, capsys):
    worker, go = slow
    worker.stop = threading.Timer(0.1, go.set).start
    threads.end_all()
    assert not worker.is_alive()
    assert "in the middle of a step" in capsys.readouterr().err


def test_one_that_is_started_at_the_end_is_stopped_as_well():
    asked, end = threading.Event(), threading.Event()
    second = threads.Worker(lambda: end.wait(WAIT), "second", end.set)
    first = threads.Worker(lambda: asked.wait(WAIT) and second.start(), "first", asked.set)
    first.start()
    threads.end_all()
    assert end.is_set()
    assert not first.is_alive()
    assert not second.is_alive()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_control_c_ends_what_the_end_waits_for():
    script = """
import os, signal, threading
from mpkit.lab.kit import threads
threads.PATIENCE = 0.01
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt = lambda: threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
threads.Worker(threading.Event().wait, "endless", interrupt).start()
"""
    done = ended(script)
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
