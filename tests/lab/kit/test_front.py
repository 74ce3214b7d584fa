"""What the browser is given to name, to speak and to watch."""

from __future__ import annotations

from pathlib import Path

import ipywidgets as widgets
import pytest

from mpkit.lab import CraftLab
from mpkit.lab.kit import front
from mpkit.lab.kit.front import Front, canvases_in, heard
from tests.lab.conftest import LABS


@pytest.fixture(autouse=True)
def _a_light_page(monkeypatch):
    monkeypatch.setattr(Front, "known", False)


def the_front(lab) -> Front:
    (found,) = [part for part in lab.panel.children if isinstance(part, Front)]
    return found


def test_a_page_that_turns_dark_turns_every_figure(small):
    lab = small(CraftLab)
    canvases = list(canvases_in(lab.panel))
    assert lab.canvas in canvases
    assert lab.victim.canvas in canvases
    the_front(lab).set_state({"dark": True})  # as the browser tells it
    assert all(c.figure.canvas.dark for c in canvases)
    frames = [c.frames for c in canvases]
    the_front(lab).set_state({"dark": True})
    assert frames == [c.frames for c in canvases]
    again = small(CraftLab)  # begins dark, without a white flash
    assert again.canvas.figure.canvas.dark
    the_front(again).set_state({"dark": False})
    assert not again.canvas.figure.canvas.dark
    assert lab.canvas.figure.canvas.dark  # each panel as its own page


@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_every_panel_has_its_front_and_says_what_it_is(kind, unroll, small):
    given = {} if kind.__name__ in ("UnrollLab", "ReplayLab") else None
    lab = kind() if given is not None else small(kind)
    try:
        assert the_front(lab).title == kind.__name__
        assert 'class="mpkit-figure"' in lab.canvas.widget.value
        assert 'aria-live="off"' in lab.status.value  # it changes five times a second
    finally:
        lab.close()


def test_the_front_asks_nothing_from_elsewhere():
    for end in (".js", ".css"):
        text = Path(front.__file__).with_suffix(end).read_text("utf-8")
        assert "http" not in text
        assert "import" not in text
        assert "innerHTML" not in text


def test_what_is_no_lab_has_a_front_too():
    part = widgets.Button(description="press")
    panel = heard("A game", [part])
    assert panel.children[0] is part
    assert isinstance(panel.children[1], Front)
    assert panel.children[1].title == "A game"
    assert "mpkit-lab" in panel._dom_classes
