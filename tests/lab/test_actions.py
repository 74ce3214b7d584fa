"""A random sequence for each lab of what a hand may do; tests/fuzz/labs.py does hundreds."""

from __future__ import annotations

import pytest

from tests.lab.actions import DRIVEN, drive


@pytest.mark.parametrize("seed", range(len(DRIVEN)))
def test_a_lab_bears_what_is_done_to_it(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    wrong = drive(DRIVEN[seed], seed, tmp_path)
    assert not wrong, wrong
