"""Groups; what happens in one is in tests/ranks and tests/cli/test_attack_ranks.py."""

from __future__ import annotations

import pytest
import torch

from mpkit import group
from mpkit.ranks import ALONE


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MPKIT_PATIENCE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("size", [None, "1"])
def test_one_process_is_in_no_group(size, monkeypatch):
    if size:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", size)
    assert not group.launched()
    with group.joined(print) as found:
        assert found is None
    assert group.group() is None
    assert group.ranks() is ALONE


def test_a_process_without_a_gpu_of_its_own_is_told_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 of this host has no GPU of its own"):
        group.join(print)
