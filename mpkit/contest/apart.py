"""Work in a process of its own, which may fail or hang, and takes nothing else with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

START = 120.0
"""Seconds for a process to start and load, which are not the team's, before it is killed."""
PATIENCE = 4
"""A second of processor time may last so long, where others use the machine as well."""
COMMAND = (sys.executable, "-P", "-m", "mpkit.contest.worker")
"""-P: no module is taken from the folder that it runs in, where submissions may lie."""


class Lost(Exception):
    """A team lost its round; the words say by what."""


def answers(job: dict, seconds: float, command: tuple[str, ...] = COMMAND) -> Iterator[dict]:
    """What a worker answers to a job, one JSON object after another. Raises Lost where it says so,
    ends without a word, or says nothing for much longer than `seconds` of processor time."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(Path(__file__).resolve().parents[2]), *filter(os.path.isabs, given)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        command,
        **pipes,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        start_new_session=True,  # Ctrl-C is for the contest, which ends the process
    )
    killed = threading.Event()

    def watch() -> threading.Timer:
        timer = threading.Timer(START + PATIENCE * seconds, lambda: (killed.set(), process.kill()))
        timer.daemon = True
        timer.start()
        return timer

    timer = watch()
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(job, allow_nan=False).encode())
        for line in process.stdout:
            timer.cancel()
            if not line.endswith(b"\n"):
                break
            row = json.loads(line)
            if "lost" in row:
                raise Lost(row["lost"])
            yield row
            timer = watch()
        if process.wait() or killed.is_set():
            late = f"it was stopped: nothing came of it in {START + PATIENCE * seconds:g} seconds"
            raise Lost(late if killed.is_set() else f"its process ended by {process.returncode}")
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
