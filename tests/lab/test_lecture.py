"""Labs for the back of the room."""

from __future__ import annotations

import pytest

from mpkit.lab import CraftLab, UnrollLab
from mpkit.lab.kit.runner import Phase
from mpkit.lab.lecture import STYLE, page


def test_a_page_is_the_labs_own_panel_in_large_type(small):
    lab = small(CraftLab, large=True)
    style, panel = page(lab).children
    assert panel is lab.panel
    assert "mpkit-lecture" in lab.panel._dom_classes
    assert style.value == STYLE
    assert lab.runner.phase is Phase.READY  # somebody is to press ▶


@pytest.mark.parametrize("kind", [CraftLab, UnrollLab])
def test_a_page_that_is_only_executed_shows_a_whole_run(kind, small, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    lab = small(CraftLab) if kind is CraftLab else UnrollLab()
    try:
        page(lab)
        assert lab.runner.phase is Phase.DONE
        assert lab.runner.error is None
    finally:
        lab.close()


def test_the_style_touches_lectures_only():
    rules = [r.split("{")[0] for r in STYLE.replace("<style>", "").split("}") if "{" in r]
    selectors = [s.strip() for rule in rules for s in rule.split(",")]
    assert selectors
    assert all(s.startswith(".mpkit-lecture") or s == "h1" for s in selectors)
