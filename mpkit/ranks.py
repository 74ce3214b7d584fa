"""One run on several processes ("ranks"): each has some of the models, all have the same poisons.

    torchrun --standalone --nproc-per-node 2 -m mpkit attack …

What one model gives is computed by one rank alone, and sums are taken in the order of the models:
so any number of ranks gives the same bits, on CPUs. What travels is numbers, and JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor


class Waiting:
    """How many of this rank's threads wait for other ranks; and the numbers of their messages."""

    def __init__(self):
        self.depth, self.numbers = 0, itertools.count()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """This process as number `rank` of `size`. All methods but `own` are for all ranks at once and
    in the same order: each waits for the others. `store`: where they leave word."""

    rank: int = 0
    size: int = 1
    store: dist.Store | None = None
    waiting: Waiting = dataclasses.field(default_factory=Waiting)

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks for all."""
        return self.rank == 0

    def own(self, count: int) -> range:
        """Which of `count` models this rank has: neighbours, and none where there are too few."""
        return range(*(count * r // self.size for r in (self.rank, self.rank + 1)))

    # ── numbers ─────────────────────────────────────────────────────────────────────────────────

    def summed(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """The sum of every model's tensor, in the order of the models; `parts` are this rank's.

        What was summed goes from rank to rank, so that it is one tensor long wherever it is; the
        last one's goes to all. `like` has its shape.
        """
        total = torch.zeros_like(like, memory_format=torch.contiguous_format)
        with self.waiting():
            if self.rank:
                dist.recv(total, self.rank - 1)
        for part in parts:
            total = total + part
        with self.waiting():
            if self.rank < self.size - 1:
                dist.send(total, self.rank + 1)
            if self.size > 1:
                dist.broadcast(total, self.size - 1)
        return total

    def gathered(self, mine: Tensor, count: int, *, first_only: bool = False) -> Tensor:
        """(M, …) of all `count` models from every rank's own (m, …); with `first_only` on the first
        rank, and the others keep theirs."""
        if self.size == 1:
            return mine
        parts = [mine.contiguous()] if first_only and self.first else []
        with self.waiting():
            for r in range(self.size):
                some = len(dataclasses.replace(self, rank=r).own(count))
                if not some or (first_only and r == 0):
                    continue
                own = r == self.rank
                part = mine.contiguous() if own else mine.new_empty(some, *mine.shape[1:])
                if not first_only:
                    dist.broadcast(part, r)
                elif own:
                    dist.send(part, 0)
                elif self.first:
                    dist.recv(part, r)
                parts.append(part)
        return torch.cat(parts) if self.first or not first_only else mine

    def sent(self, tensor: Tensor) -> Tensor:
        """The first rank's tensor on all of them, whose own have its shape and type."""
        if self.size > 1:
            tensor = tensor.contiguous()
            with self.waiting():
                dist.broadcast(tensor, 0)
        return tensor

    # ── words ───────────────────────────────────────────────────────────────────────────────────

    def told(self, value: object = None) -> object:
        """The first rank's value, which JSON has a word for, on all of them."""
        if self.size == 1:
            return value
        key = f"told/{next(self.waiting.numbers)}"
        if self.first:
            self.store.set(key, json.dumps(value, allow_nan=False))
            return value
        with self.waiting():
            return json.loads(self.store.get(key))

    def collected(self, value: object) -> list:
        """Every rank's value, in their order, on the first; [] on the others."""
        if self.size == 1:
            return [value]
        number = next(self.waiting.numbers)
        keys = [f"collected/{number}/{r}" for r in range(self.size)]
        self.store.set(keys[self.rank], json.dumps(value, allow_nan=False))
        with self.waiting():
            return [json.loads(self.store.get(key)) for key in keys if self.first]


ALONE = Ranks()
