"""ContestBoard in a real JupyterLab: it plays a round, and all can read what came of it."""

from __future__ import annotations

import re

from server import expect, serious

from tests.contest.conftest import BLUE, LIMITS, RED

MAKE = f"""
import json, tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
(folder / "submissions").mkdir()
(folder / "limits.json").write_text(json.dumps({LIMITS | {"targets": 1}!r}))
for team in ({RED!r}, {BLUE!r}):
    (folder / "submissions" / (team["team"] + ".json")).write_text(json.dumps(team))
board = lab = ContestBoard(folder, draw=5)
"""


def test_a_round_is_played_and_told(notebook):
    book = notebook(["from mpkit.lab import ContestBoard", f"{MAKE}\nlab"])
    book.settled()
    assert book.ask("[lab.runner.steps, lab.runner.phase.value]") == [0, "ready"]
    book.press("Run")
    book.wait_for("lab.runner.phase.value == 'done'", 240)
    picture = book.page.locator("img[alt][style*='max-width']").first
    points = book.ask("[str(score) for score in lab.scores()]")
    for words in points:
        expect(picture).to_have_attribute("alt", re.compile(re.escape(words)))
    table = book.page.get_by_role("table", name="Victims that turned, and accuracy")
    expect(table.get_by_role("rowheader")).to_have_count(2)
    expect(table.get_by_role("columnheader")).to_have_count(3)
    assert not serious(book.page, ".mpkit-lab")
