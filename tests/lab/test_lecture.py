"""Labs for the back of the room."""

from __future__ import annotations

import json
import re

import pytest

from mpkit.lab import CraftLab, UnrollLab
from mpkit.lab.kit.front import Front, canvases_in
from mpkit.lab.kit.panel import HERO
from mpkit.lab.kit.runner import Phase
from mpkit.lab.lecture import STYLE, index, page


def test_a_page_is_the_labs_own_panel_in_large_type(small):
    lab = small(CraftLab, large=True)
    style, panel = page(lab).children
    assert panel is lab.panel
    assert "mpkit-lecture" in lab.panel._dom_classes
    assert style.value.startswith(STYLE)
    assert lab.runner.phase is Phase.READY  # somebody is to press ▶


def test_pictures_stand_apart_from_what_is_pressed_and_turned(small):
    lab = small(CraftLab, large=True)
    parts = set(lab.panel.children)
    pictures = {part for part in parts if HERO in part._dom_classes}
    assert pictures
    page(lab)
    room, front, _ = lab.panel.children
    head, stage, rest = room.children
    assert isinstance(front, Front)
    assert pictures <= set(stage.children)
    assert {lab.canvas, lab.victim.canvas} <= set(canvases_in(stage))
    assert not list(canvases_in(head)) + list(canvases_in(rest))
    assert {lab.transport.widget, lab.status, lab.message} <= set(head.children)
    shown = {*lab.panel.children, *head.children, *stage.children, *rest.children}
    assert parts <= shown  # nothing is lost


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
    text = re.sub(r"@media[^{]*\{(.*?\})\s*\}", r"\1", STYLE, flags=re.DOTALL)
    rules = [r.split("{")[0] for r in text.replace("<style>", "").split("}") if "{" in r]
    selectors = [s.strip() for rule in rules for s in re.split(r",(?![^(]*\))", rule)]
    assert len(selectors) > 20
    ours = (".mpkit-lecture", ".mpkit-index", ".mpkit-all", ".jp-RenderedMarkdown")
    assert all(s.startswith(ours) for s in selectors)


def test_the_index_has_title_line_and_picture_of_every_page(tmp_path):
    for name, first in (("2-b", "# B & C\n\nWhat it\nis."), ("1-a", "# A"), ("index", "# All")):
        cells = [{"cell_type": "markdown", "source": first.splitlines(keepends=True)}]
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}), "utf-8")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "2-b.jpg").write_bytes(b"a picture")
    shown = index(tmp_path).value
    assert re.findall(r'href="([^"]+)"', shown) == ["1-a.ipynb", "2-b.ipynb"]
    assert "<h2>B &amp; C</h2><p>What it is.</p>" in shown
    assert shown.count("<img") == 1
    assert "data:image/jpeg;base64,YSBwaWN0dXJl" in shown
