"""Several processes of one group, as a launcher starts them, and what they said."""

from __future__ import annotations

import dataclasses
import os
import runpy
import socket
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

from tests.forks import ROOT, Forked


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclasses.dataclass
class Launched:
    """Processes by rank, and the files that have their stderr."""

    processes: list[Forked]
    heard: list[Path]

    def codes(self, seconds: float = 150) -> list[int]:
        """Exit codes, when all have ended."""
        try:
            return [p.wait(seconds) for p in self.processes]
        finally:
            self.end()

    def said(self) -> list[str]:
        """What each has said on stderr, but for torch's own lines."""
        texts = [path.read_text("utf-8") for path in self.heard]
        lines = [t.splitlines(keepends=True) for t in texts]
        return ["".join(line for line in some if not line.startswith("[")) for some in lines]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def as_python(how: str, what: str, *arguments: str) -> None:
    """`python -m module …`, or `python -c code …`, in this process."""
    sys.argv = [what if how == "-m" else how, *arguments]
    warnings.simplefilter("ignore")  # such as that the module is loaded already
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})


def launch(ranks: int, *command: str, folder: Path, **environment: str) -> Launched:
    """`python *command` as so many ranks; the first has the store, as there is no torchrun."""
    about = {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    about, outside = os.environ | about | environment, tempfile.mkdtemp(dir=folder)
    processes, heard = [], [Path(outside, str(r)) for r in range(ranks)]
    for r, path in enumerate(heard):
        own = about | {"RANK": str(r), "LOCAL_RANK": str(r)}
        processes.append(Forked(partial(as_python, *map(str, command)), folder, own, path))
    return Launched(processes, heard)
