"""Ten random sequences of what a hand may do; tests/fuzz/labs.py does hundreds."""

from __future__ import annotations

import pytest

from tests.lab.actions import drive
from tests.lab.conftest import LABS


@pytest.mark.parametrize("seed", range(10))
def test_a_lab_bears_what_is_done_to_it(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    wrong = drive(LABS[seed % len(LABS)], seed, tmp_path)
    assert not wrong, wrong
