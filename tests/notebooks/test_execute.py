"""Every chapter through nbconvert: with its labs left alone, as after "run all", and as a page. The
lecturer's pages are left alone where a browser looks at them (tests/browser/test_voila.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_nbconvert_executes_it(path: Path, monkeypatch):
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    monkeypatch.setenv("MPKIT_PROGRESS", "off")
    exporter = HTMLExporter(preprocessors=[ExecutePreprocessor])
    page, _ = exporter.from_filename(path, {"metadata": {"path": str(path.parent)}})
    assert "Traceback" not in page
