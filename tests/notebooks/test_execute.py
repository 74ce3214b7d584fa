"""Every notebook through nbconvert: with its labs left alone, as after "run all", and as a page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("**/[0-9]*.ipynb"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_nbconvert_executes_it(path: Path, tmp_path: Path):
    environment = {k: v for k, v in os.environ.items() if k != "MPKIT_SYNC"}
    environment |= {"MPKIT_SCALE": "ci", "MPKIT_PROGRESS": "off"}
    command = ["nbconvert", "--execute", "--to", "html", "--output-dir", str(tmp_path), str(path)]
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / f"{path.stem}.html").read_text("utf-8")
    assert "Traceback" not in page
