"""A random sequence for each lab of what a hand may do; tests/fuzz/labs.py does hundreds."""

from __future__ import annotations

import pytest

from mpkit.lab import UnrollLab
from mpkit.lab.kit.runner import Runner
from tests.lab.actions import DRIVEN, drive


@pytest.mark.parametrize("seed", range(len(DRIVEN)))
def test_a_lab_bears_what_is_done_to_it(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    wrong = drive(DRIVEN[seed], seed, tmp_path)
    assert not wrong, wrong


def test_an_exception_behind_a_button_is_heard(tmp_path, monkeypatch):
    def broken(runner) -> None:
        raise RuntimeError("no step here")

    monkeypatch.setattr(Runner, "step", broken)
    assert "no step here" in drive(UnrollLab, 0, tmp_path, actions=60)
