"""The first chapter through nbconvert, which executes it as after "run all". The others' cells are
executed by nbval, and their pages made by nbconvert (tests/notebooks/once.py)."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

from tests.notebooks.once import with_labs

FIRST = Path(__file__).parents[2] / "notebooks" / "00-start-here.ipynb"


@pytest.mark.timeout(300)
def test_nbconvert_executes_the_first_chapter(monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    monkeypatch.setenv("MPKIT_PROGRESS", "off")
    book, resources = nbformat.read(FIRST, 4), {"metadata": {"path": str(FIRST.parent)}}
    ExecutePreprocessor().preprocess(book, resources)
    page, _ = HTMLExporter().from_notebook_node(book, resources)
    assert "Traceback" not in page
    assert "mpkit-lab" in page  # its panels' widgets are in it


def test_whatever_looks_at_a_lab_is_executed_again():
    cells = ["lab = CraftLab()\ndef rate(): return lab.rate", "rate()", "one = 1", "print(one)"]
    assert with_labs(cells) == [0, 1]
