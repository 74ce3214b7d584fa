"""All exercises, and progress in a file of the test's own."""

from __future__ import annotations

import importlib

import pytest
import torch

from tests.conftest import ROOT

for path in sorted((ROOT / "mpkit" / "course").glob("ch[0-9][0-9].py")):
    importlib.import_module(f"mpkit.course.{path.stem}")  # which registers its exercises


@pytest.fixture(autouse=True)
def kept(monkeypatch, tmp_path):
    """Progress in a file of the test's own."""
    monkeypatch.setenv("MPKIT_PROGRESS", str(tmp_path / "deep" / "progress.json"))
    return tmp_path / "deep" / "progress.json"


@pytest.fixture
def pictures():
    g = torch.Generator().manual_seed(0)
    bases = torch.rand(6, 1, 8, 8, generator=g)
    return bases, (bases + 0.2 * torch.randn(bases.shape, generator=g)).clamp(0, 1)
