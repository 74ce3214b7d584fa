"""What is closed is gone: widgets, labs, and all that they held."""

from __future__ import annotations

import gc
import weakref

import ipywidgets as widgets
import pytest
from ipywidgets.widgets.widget import _instances

from mpkit.lab import (
    CraftLab,
    LookaheadLab,
    Question,
    ReplayLab,
    UnrollLab,
)
from mpkit.lab.kit.closing import Closed, close_all
from mpkit.lab.kit.panel import Lab
from mpkit.lab.lecture import page
from tests.lab.conftest import LABS, SHORT, SMALL, finished


def test_all_that_is_in_a_box_closes_with_it():
    other = widgets.Label()
    before = set(_instances)
    inner = widgets.VBox([widgets.HTML(), widgets.Output()])
    box = widgets.HBox([widgets.Dropdown(options=[1, 2]), inner, widgets.FloatSlider()])
    assert len(_instances) > len(before)
    close_all(box)
    assert set(_instances) == before
    close_all(box)  # again
    other.close()


def made(kind):
    question = Question("How many?", 0, 8, 4)
    if kind is UnrollLab:
        return kind(question)
    if kind is ReplayLab:
        return kind(question=question, rate=1000)
    given = SHORT if kind is LookaheadLab else SMALL | {"craft_steps": 1}
    return kind(question=question, **given)


@pytest.fixture
def new():
    """Widgets that were made since."""
    gc.collect()
    before = set(_instances)
    return lambda: set(_instances) - before


def used(kind, until) -> tuple[Lab, list[weakref.ref]]:
    """A lab of which everything is used, and closed; and what it held, which is to be collected."""
    lab = made(kind)
    if kind is CraftLab:
        lab.picker.opener.value = True  # what is folded away is only made when it is looked at
        lab.picker._make()
    lab._answered(3)
    finished(lab, until)
    if kind is CraftLab:
        lab.victim.start()
        until(lambda: lab.victim.runner.phase.ended)
    names = ("scenario", "ready", "source", "picker", "victim")
    parts = [getattr(lab, name, None) for name in names]
    parts = [lab.canvas, lab.canvas.figure, lab.panel, *lab.controls.values(), *parts]
    lab.close()
    return lab, [weakref.ref(part) for part in parts if part is not None]


def under_way(until) -> list[weakref.ref]:
    """A lab that was closed while a step was under way."""
    lab = CraftLab(**SMALL | {"craft_steps": 10_000})
    lab.transport.buttons["run"].click()
    until(lambda: lab.runner.steps > 0)
    lab.close(timeout=0)
    return [weakref.ref(lab)]


def collected(refs) -> bool:
    gc.collect()
    return all(ref() is None for ref in refs)


@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_a_closed_lab_is_collected_and_leaves_no_widget(kind, new, until, monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    kept, refs = used(kind, until)  # by a variable, or by Out of a notebook
    assert not new()
    until(lambda: collected(refs))
    assert kept.runner.phase.ended
    refs = [weakref.ref(kept), weakref.ref(kept.runner)]
    del kept
    until(lambda: collected(refs))


def test_a_closed_lab_says_that_it_is(unroll):
    lab = unroll()
    lab.panel.close()
    for use in (lab.describe, lambda: lab.knobs, lambda: lab.controls):
        with pytest.raises(Closed, match=r"this UnrollLab is closed, .* run its cell again"):
            use()
    lab.close()  # again
    assert lab.runner.wait(0)
    with pytest.raises(AttributeError, match="'UnrollLab' has no attribute 'nothing'"):
        unroll().nothing  # noqa: B018


def test_a_lab_under_way_lets_go_once_its_step_is_done(new, until, small):
    refs = under_way(until)
    assert not new()
    until(lambda: collected(refs))


def test_pictures_that_are_replaced_leave_no_widget(new, small):
    lab = small(CraftLab, n_test=100)
    lab.picker.opener.value = True
    count = len(new())
    for _ in range(3):
        lab.picker._make()
        for row in lab.picker.rows.values():
            row.turns[1].click()
            row.turns[0].click()
    assert len(new()) <= count


def test_closing_a_page_closes_its_lab(new):
    shown = page(UnrollLab())
    shown.close()
    assert not new()


def test_there_is_no_moment_at_which_a_lab_is_half_closed(small, monkeypatch):
    """A thread may ask at any moment, and is told `Closed`: that is where only the runner is."""
    lab, held = small(CraftLab), []

    def watched(self, name, value):
        held.append("runner" in vars(self))
        object.__setattr__(self, name, value)

    monkeypatch.setattr(CraftLab, "__setattr__", watched, raising=False)
    lab.close()
    assert held
    assert all(held)
    with pytest.raises(Closed):
        _ = lab.attack
