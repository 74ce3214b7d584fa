"""Peak memory, of work whose peak is known."""

from __future__ import annotations

import torch

from mpkit.course.measure import peak_bytes

MIB = 2**20


def megabyte() -> torch.Tensor:
    return torch.zeros(MIB // 4)


def test_what_is_there_at_once_counts_together():
    def together():
        kept = [megabyte() for _ in range(3)]
        return len(kept)

    assert 3 * MIB <= peak_bytes(together) < 3.1 * MIB


def test_what_was_given_back_does_not_count():
    def one_by_one():
        for _ in range(5):
            megabyte()

    assert MIB <= peak_bytes(one_by_one) < 1.1 * MIB


def test_what_was_there_before_does_not_count():
    before = [megabyte() for _ in range(4)]
    assert peak_bytes(lambda: before[0].add_(1)) < 0.1 * MIB


def test_what_is_set_up_once_does_not_count():
    kept = {}

    def work():
        if not kept:
            kept["table"] = [megabyte() for _ in range(8)]
        megabyte()

    assert MIB <= peak_bytes(work) < 1.1 * MIB


def test_the_same_work_has_the_same_peak():
    x = torch.rand(50, 300)
    work = lambda: (x @ x.T).softmax(1).sum()  # noqa: E731
    assert len({peak_bytes(work) for _ in range(3)}) == 1
