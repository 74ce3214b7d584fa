"""What a run has freed goes back to the system when it rests, and not before."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest
import torch

from mpkit.lab import UnrollLab
from mpkit.lab.kit import memory, panel
from mpkit.lab.kit.runner import Phase

STATM = Path("/proc/self/statm")


def resident() -> float:
    """MiB that this process has in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(memory._trim() is None or not STATM.exists(), reason="glibc on Linux alone")
def test_what_lies_free_between_what_is_used_is_given_back():
    pieces = [torch.ones(4000) for _ in range(6000)]  # 16 kB each, 92 MiB in all
    kept = pieces[::100]
    pieces.clear()
    before = resident()
    memory.give_back()
    assert before - resident() > 50
    assert all(bool((t == 1).all()) for t in kept)


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_where_there_is_no_such_call_nothing_happens(error, monkeypatch):
    def none(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", none)
    memory._trim.cache_clear()
    try:
        memory.give_back()
        assert memory._trim() is None
    finally:
        memory._trim.cache_clear()


def test_a_lab_gives_back_when_it_rests(monkeypatch, until):
    phases = []
    monkeypatch.setattr(panel, "give_back", lambda: phases.append(lab.runner.phase))
    lab = UnrollLab()
    try:
        lab.runner.step()
        until(lambda: phases)
        assert set(phases) == {Phase.PAUSED}
        lab.runner.stop()
        until(lambda: Phase.STOPPED in phases)
        assert set(phases) == {Phase.PAUSED, Phase.STOPPED}
    finally:
        lab.close()
