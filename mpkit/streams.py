"""Random numbers without generators to carry along: each use has a stream of its own, by names."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def stream(*names: object) -> int:
    """A seed for one use of randomness, from the run's seed and what it is for.

    Distinct names give independent streams, so no generator has to be carried along or saved, and
    a victim can never share a stream with a surrogate. ``stream(seed, "victim", 3)``
    """
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator(*names: object) -> torch.Generator:
    """A CPU generator seeded by `stream`."""
    return torch.Generator().manual_seed(stream(*names))


def batches_of(n: int, batch: int) -> int:
    """How many batches an epoch of n images has."""
    return -(-n // min(batch, n))


def epoch_order(n: int, batch: int, *names: object) -> Tensor:
    """One shuffled epoch as rows (batches, batch); `names` choose the shuffle (see `stream`).

    Where `batch` does not divide n the last batch is filled up from the start of the same shuffle,
    so that every batch has the same shape and no image is left out.
    """
    count, batch = batches_of(n, batch), min(batch, n)
    order = torch.randperm(n, generator=generator(*names))
    return torch.cat([order, order[: count * batch - n]]).view(count, batch)
