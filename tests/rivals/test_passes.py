"""Poisons in parts."""

import torch

from mpkit.rivals import passes


def test_parts_are_all_of_it_and_add_up(monkeypatch):
    monkeypatch.setattr(passes, "PART", 3)
    x, y = torch.arange(8.0), torch.arange(8)
    found = list(passes.parts(x, y))
    assert [len(a) for a, _ in found] == [3, 3, 2]
    assert torch.equal(torch.cat([a for a, _ in found]), x)
    total = passes.added({"s": part.sum()} for part, _ in found)
    assert total["s"] == x.sum()
    assert passes.mapped(True, 0, None) == (0, None)
    assert passes.mapped(False, 0, None) is None
