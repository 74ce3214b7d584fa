"""Work in a process of its own, which may fail or hang, and takes nothing else with it."""

from __future__ import annotations

import contextlib
import json
import math
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
TICK = 0.1
"""Seconds that are waited for at a time."""
BY_SYSTEM = -9
"""How a process ends that was killed."""
COMMAND = (sys.executable, "-P", "-m", "mpkit.contest.worker")
"""-P: no module is taken from the folder that it runs in, where submissions may lie."""


class Lost(Exception):
    """A team lost its round; the words say by what."""


class Killed(Lost):
    """The system killed a team's process: perhaps for what others took."""


class Fault(ValueError):
    """What no team can help, such as a full disk or poisons that are gone: nobody loses by it."""


def heard_of(row: dict) -> dict:
    """The row of an answer. Raises Lost or Fault where it says so."""
    if "lost" in row:
        raise Lost(row["lost"])
    if "fault" in row:
        raise Fault(f"the round stopped by no team's fault: {row['fault']}. Mend that, and go on")
    return row


def answers(job: dict, seconds: float, command: tuple[str, ...] = COMMAND) -> Iterator[dict]:
    """What a worker answers to a job, one JSON object after another. Raises Lost, or Fault, where
    it says so, Lost where it ends without a word, or says nothing for much longer than `seconds` of
    processor time, and Killed where another killed it."""
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

    def watch() -> threading.Event:
        heard = threading.Event()

        def count() -> None:  # and look at no clock, which goes on while all this is stopped
            for _ in range(math.ceil((START + PATIENCE * seconds) / TICK)):
                if heard.wait(TICK):
                    return
            if process.poll() is None:
                killed.set()
                process.kill()

        threading.Thread(target=count, daemon=True).start()
        return heard

    heard = watch()
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(json.dumps(job, allow_nan=False).encode())
        for line in process.stdout:
            heard.set()
            if not line.endswith(b"\n"):
                break
            yield heard_of(json.loads(line))
            heard = watch()
        if process.wait():
            late = f"it was stopped: nothing came of it in {START + PATIENCE * seconds:g} seconds"
            if process.returncode == BY_SYSTEM and not killed.is_set():
                raise Killed("the system killed its process, as it does where the memory runs out")
            raise Lost(late if killed.is_set() else f"its process ended by {process.returncode}")
    finally:
        heard.set()
        process.kill()
        process.wait()
        process.stdout.close()
