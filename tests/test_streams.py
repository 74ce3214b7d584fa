"""Streams of random numbers: one for each use, and each epoch's shuffle whole."""

from __future__ import annotations

import torch

from mpkit.streams import batches_of, epoch_order, generator, stream


def test_streams_differ():
    seeds = {stream(0, kind, i) for kind in ("victim", "surrogate") for i in range(500)}
    assert len(seeds) == 1000


def test_a_stream_is_known_by_its_names_alone():
    assert torch.equal(*(torch.rand(5, generator=generator(3, "noise")) for _ in range(2)))
    assert stream(1, 23) != stream(12, 3)


def test_epoch_order_leaves_nothing_out():
    for n, batch in ((23, 5), (20, 5), (3, 10)):
        rows = epoch_order(n, batch, 0)
        assert set(rows.flatten().tolist()) == set(range(n))
        assert rows.shape == (-(-n // min(batch, n)), min(batch, n))
        assert len(rows) == batches_of(n, batch)
