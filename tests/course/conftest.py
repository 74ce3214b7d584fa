"""Progress in a file of the test's own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def kept(monkeypatch, tmp_path):
    """Progress in a file of the test's own."""
    monkeypatch.setenv("MPKIT_PROGRESS", str(tmp_path / "deep" / "progress.json"))
    return tmp_path / "deep" / "progress.json"
