"""Plain autograd with one process a core, each with its share of the models.

A process makes the very same problem for itself, once; then only gradients travel, which are small.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import time
from collections.abc import Iterator

import torch
from bench.contender import Contender
from bench.problem import Problem, make_problem
from bench.torch_peers import autograd
from torch import Tensor


class Pool:
    """Processes that wait for work: (arguments of `make_problem`, layout, models)."""

    def __init__(self, processes: int):
        fresh, self.pipes, self.processes = multiprocessing.get_context("spawn"), [], []
        for _ in range(processes):
            here, there = fresh.Pipe()
            self.processes.append(fresh.Process(target=_serve, args=(there,), daemon=True))
            self.processes[-1].start()
            there.close()
            self.pipes.append(here)
        self.used = 0.0  # seconds of processor time, of all processes

    def contender(self, problem: Problem, layout: str = "plain") -> Contender:
        """The models are split evenly."""
        shares = [range(i, problem.models, len(self.pipes)) for i in range(len(self.pipes))]
        busy = [(pipe, share) for pipe, share in zip(self.pipes, shares, strict=True) if share]

        def run() -> Tensor:
            for pipe, share in busy:
                pipe.send((problem.how, layout, share))
            found = [pipe.recv() for pipe, _ in busy]
            self.used += sum(seconds for _, seconds in found)
            return sum(torch.from_numpy(gradient) for gradient, _ in found)

        return Contender(run, processor=lambda: self.used + time.process_time())

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()  # which ends its process
        for process in self.processes:
            process.join()


@contextlib.contextmanager
def pool(processes: int) -> Iterator[Pool | None]:
    """So many processes, or None where one would be alone."""
    made = Pool(processes) if processes > 1 else None
    try:
        yield made
    finally:
        if made:
            made.close()


def _serve(pipe) -> None:
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            work = _work(*pipe.recv())
            before = time.process_time()
            gradient = work().numpy()
            pipe.send((gradient, time.process_time() - before))


@functools.lru_cache(maxsize=2)
def _work(how: tuple, layout: str, models: range) -> Contender:
    return autograd(make_problem(*how), layout, models)
