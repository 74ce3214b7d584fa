"""Batches are told as they are done, and what the listener raises ends the work."""

from __future__ import annotations

import pytest

from mpkit.telling import Count


def test_every_batch_is_told_after_it_is_done_and_never_more_than_all():
    told, begun = [], []
    count = Count(lambda done, of: told.append((done, of, len(begun))), 5)
    for batch in count.over("abc", models=2):
        begun.append(batch)
    assert begun == ["a", "b", "c"]
    assert told == [(2, 5, 1), (4, 5, 2), (5, 5, 3)]


def test_nobody_need_listen():
    assert list(Count(None, 2).over(range(3))) == [0, 1, 2]


def test_what_the_listener_raises_ends_the_work():
    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    seen = Count(stop, 2).over("ab")
    assert next(seen) == "a"
    with pytest.raises(KeyboardInterrupt):
        next(seen)
