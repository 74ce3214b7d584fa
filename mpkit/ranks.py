"""One run on several processes ("ranks"): each has some of the models, all have the same poisons.

    torchrun --standalone --nproc-per-node 2 -m mpkit attack …

What one model gives is computed by one rank alone, and sums are taken in the order of the models:
so any number of ranks gives the same bits, on CPUs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Ranks:
    """This process as number `rank` of `size`. Every method but `own` is for all of them at once:
    each waits for the others."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks for all."""
        return self.rank == 0

    def own(self, count: int) -> range:
        """Which of `count` models this rank has: neighbours, and none where there are too few."""
        return range(*(count * r // self.size for r in (self.rank, self.rank + 1)))

    def summed(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """The sum of every model's tensor, in the order of the models; `parts` are this rank's.

        What was summed goes from rank to rank, so that it is one tensor long wherever it is; the
        last one's goes to all. `like` has its shape.
        """
        total = torch.zeros_like(like)
        if self.rank:
            dist.recv(total, self.rank - 1)
        for part in parts:
            total = total + part
        if self.rank < self.size - 1:
            dist.send(total.contiguous(), self.rank + 1)
        if self.size > 1:
            dist.broadcast(total, self.size - 1)
        return total

    def gathered(self, mine: Tensor, count: int) -> Tensor:
        """(M, …) of all `count` models, from every rank's own (m, …)."""
        if self.size == 1:
            return mine
        parts = []
        for r in range(self.size):
            some = len(Ranks(r, self.size).own(count))
            part = mine.contiguous() if r == self.rank else mine.new_empty(some, *mine.shape[1:])
            if some:
                dist.broadcast(part, r)
            parts.append(part)
        return torch.cat(parts)


ALONE = Ranks()


def ranks() -> Ranks:
    """The ranks of this process: one alone, where nobody has begun a group."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Ranks(dist.get_rank(), dist.get_world_size())
