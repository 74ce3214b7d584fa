"""Every chapter through nbconvert: with its labs left alone, as after "run all", and as a page. The
lecturer's pages are left alone where a browser looks at them (tests/browser/test_voila.py)."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

WIDE = 100
"""Letters of a printed line that a narrow page, 1024 pixels, shows without breaking a word."""
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_nbconvert_executes_it(path: Path, monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    monkeypatch.setenv("MPKIT_PROGRESS", "off")
    book, resources = nbformat.read(path, 4), {"metadata": {"path": str(path.parent)}}
    ExecutePreprocessor().preprocess(book, resources)
    page, _ = HTMLExporter().from_notebook_node(book, resources)
    assert "Traceback" not in page
    outputs = [out for cell in book.cells for out in cell.get("outputs", ())]
    printed = "".join(out.text for out in outputs if out.output_type == "stream")
    assert not [line for line in printed.splitlines() if len(line) > WIDE]
