"""What a rank does without others; with others, see tests/ranks."""

from __future__ import annotations

import pytest
import torch

from mpkit.ranks import ALONE, Ranks


@pytest.mark.parametrize("count", range(10))
@pytest.mark.parametrize("size", range(1, 6))
def test_each_model_is_of_one_rank_and_the_first_has_some(count, size):
    shares = [Ranks(r, size).own(count) for r in range(size)]
    assert [m for share in shares for m in share] == list(range(count))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1
    assert lengths[0] == max(lengths)


def test_alone_all_is_as_it_was():
    parts = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ALONE.summed(parts, parts[0]), parts[0] + parts[1] + parts[2])
    assert ALONE.gathered(parts, 3) is parts
    assert ALONE.gathered(parts, 3, first_only=True) is parts
    assert ALONE.sent(parts) is parts
    assert ALONE.told({"a": 1}) == {"a": 1}
    assert ALONE.collected("a") == ["a"]


def test_waiting_is_counted_also_where_it_ends_in_an_error():
    ranks = Ranks()
    with ranks.waiting(), ranks.waiting():
        assert ranks.waiting.depth == 2
    with pytest.raises(OSError, match="gone"), ranks.waiting():
        raise OSError("gone")
    assert ranks.waiting.depth == 0
