"""Processes of their own, forked from one that has everything loaded and does nothing else: real
ones, which begin much sooner than a fresh Python. They share its hash seed, and end without what
Python does at its exit.

A fresh Python is started where that is what is tested: by torchrun, a shell or Slurm, and wherever
a system cannot fork.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]


def forking() -> multiprocessing.context.BaseContext:
    """The context of such processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.loaded"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MPKIT_")}
    kept |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with mock.patch.dict(os.environ, kept, clear=True):
        forkserver.ensure_running()
    return context


class Process(getattr(multiprocessing.context, "ForkServerProcess", multiprocessing.Process)):
    """With the surroundings of whoever starts it, as a fresh one would have."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self.surroundings = dict(os.environ)

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self.surroundings)
        super().run()


def forking_workers(method: str) -> SimpleNamespace:
    """In the place of `multiprocessing.get_context`, for work that is spread over processes."""
    context = forking()
    fork = context.get_start_method() == "forkserver"
    return SimpleNamespace(Pipe=context.Pipe, Process=Process if fork else context.Process)


class Forked:
    """`work()` in such a process, as `subprocess.Popen` would have it: in `folder`, with `env` for
    its surroundings, its stderr in the file `heard`, and nothing of what it prints."""

    def __init__(self, work: Callable[[], object], folder: Path, env: dict, heard: Path):
        begun = (work, str(folder), dict(env), str(heard))
        self.process = forking().Process(target=_begin, args=begun)
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, seconds: float | None = None) -> int:
        self.process.join(seconds)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.process), seconds)
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()


def _begin(work: Callable[[], object], folder: str, env: dict, heard: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for stream, name in ((1, os.devnull), (2, heard)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), stream)
    work()
