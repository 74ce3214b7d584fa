"""Rates: what was done, over how long."""

from __future__ import annotations

import pytest
import torch

from mpkit.device import Plan
from mpkit.runs import ceilings as module
from mpkit.runs.attack import make_attack
from mpkit.runs.ceilings import CONVOLUTION, COPY, PRODUCT, achieved, ceilings
from mpkit.runs.trial import VICTIM, pieces, sizes_of
from tests.runs.test_trial import TINY

CPU = torch.device("cpu")


def test_ceilings_are_work_over_time_on_all_cores(monkeypatch):
    monkeypatch.setattr(module, "cores", lambda: 2)
    monkeypatch.setattr(module, "clocked", lambda *_, **__: 4.0)
    found = {rate.what: rate for rate in ceilings(CPU, torch.float32, 0)}
    assert list(found) == [PRODUCT, CONVOLUTION, COPY]
    assert {rate.seconds for rate in found.values()} == {2.0}  # two at a time
    assert found[PRODUCT].operations == 1024**3
    assert found[CONVOLUTION].operations == 64 * 64 * 9 * 16 * 16 * 125
    assert (found[COPY].moved, found[COPY].operations) == (1 << 25, None)


def test_they_are_measured():
    assert all(rate.seconds > 0 for rate in ceilings(CPU, torch.float32, 0))


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1), (torch.bfloat16, 0.5)])
def test_a_piece_s_rates_are_its_counts_over_its_time(dtype, size, monkeypatch):
    monkeypatch.setattr(module, "timed", lambda *_, **__: 0.5)
    piece = pieces(make_attack(**TINY), sizes_of(make_attack(**TINY)))[VICTIM]
    found = achieved("step", piece, CPU, Plan(), 1, dtype=dtype)
    assert (found.what, found.seconds) == ("step", 0.5)
    assert found.operations == 2 * piece.counted.operations
    assert found.moved == 2 * size * piece.counted.moved
