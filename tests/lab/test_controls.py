"""Controls: sliders and boxes agree, and refuse in words."""

from __future__ import annotations

import ipywidgets as widgets
import pytest
import torch

from mpkit.lab.controls import Choice, Number, Thumbnails, Transport
from mpkit.lab.extras import fold
from mpkit.lab.runner import Phase, Runner


@pytest.fixture
def heard():
    return []


@pytest.fixture
def said():
    return []


def test_slider_and_box_say_the_same(heard, said):
    number = Number("K", 3, 1, 8, heard.append, said.append)
    number.slider.value = 5
    assert (number.box.value, heard) == (5, [5])
    number.box.value = 2
    assert (number.slider.value, heard) == (2, [5, 2])
    assert said == []


@pytest.mark.parametrize("bad", [0, 9, -100, 10**9])
def test_what_is_out_of_range_is_refused_in_words(heard, said, bad):
    number = Number("K", 3, 1, 8, heard.append, said.append)
    number.box.value = bad
    assert (number.box.value, number.slider.value, heard) == (3, 3, [])
    assert said == [f"K must lie between 1 and 8, not {bad}."]


@pytest.mark.parametrize("bad", [2.7, float("nan"), float("inf")])
def test_a_whole_number_is_not_rounded(heard, said, bad):
    number = Number("K", 3, 1, 8, heard.append, said.append)
    number.box.value = bad
    assert (number.box.value, number.slider.value, heard) == (3, 3, [])
    assert said == [f"K must be a whole number, not {bad}."]
    number.box.value = 4.0
    assert [(v, type(v)) for v in heard] == [(4, int)]
    assert number.slider.value == 4


def test_no_number_is_refused(heard, said):
    number = Number("rate", 0.1, 0.01, 1, heard.append, said.append, 0.01)
    number.box.value = float("nan")
    assert (number.box.value, heard) == (0.1, [])
    assert "not nan" in said[0]


def test_what_the_settings_refuse_goes_back(said):
    def turn(value):
        raise ValueError(f"{value} does not fit")

    number = Number("K", 3, 1, 8, turn, said.append)
    number.slider.value = 4
    assert (number.slider.value, number.box.value, said) == (3, 3, ["4 does not fit"])


def test_fractions_stay_readable(heard, said):
    number = Number("rate", 0.1, 0.01, 1, heard.append, said.append, 0.01)
    number.slider.value = 0.30000000000000004
    assert heard == [0.3]
    assert number.box.value == 0.3


def test_a_choice_goes_back_too(said):
    def turn(value):
        if value == "b":
            raise ValueError("not b")

    choice = Choice("network", ["a", "b", "c"], "a", turn, said.append)
    choice.menu.value = "c"
    choice.menu.value = "b"
    assert (choice.menu.value, said) == ("c", ["not b"])


def test_a_thumbnail_is_picked_by_its_button(heard, said):
    faces = Thumbnails(
        "target", torch.rand(3, 1, 8, 8), ["0", "<1>", "2"], 0, heard.append, said.append
    )
    faces.buttons[1].click()
    assert (heard, faces.value) == ([1], 1)
    assert [b.button_style for b in faces.buttons] == ["", "primary", ""]
    image = faces.row.children[1].children[0].value
    assert 'alt="target: &lt;1&gt;"' in image


def test_buttons_are_enabled_where_they_do_something():
    runner = Runner(lambda: iter(range(3)), mode="thread")
    transport = Transport(runner)
    wanted = {
        Phase.READY: {"run", "step"},
        Phase.RUNNING: {"pause", "stop", "reset"},
        Phase.PAUSING: {"stop", "reset"},
        Phase.PAUSED: {"run", "step", "stop", "reset"},
        Phase.STOPPING: {"reset"},
        Phase.STOPPED: {"reset"},
        Phase.DONE: {"reset"},
        Phase.FAILED: {"reset"},
    }
    assert set(wanted) == set(Phase)
    for phase, names in wanted.items():
        runner.phase = phase
        transport.refresh()
        assert {n for n, b in transport.buttons.items() if not b.disabled} == names
    assert list(transport.buttons) == ["run", "pause", "step", "stop", "reset"]
    runner.phase = Phase.READY
    transport.refresh(allowed=False)
    assert all(b.disabled for b in transport.buttons.values())


def test_a_fold_opens_and_closes():
    folded = fold("more", [widgets.Label("inside")])
    opener, inside = folded.children
    assert inside.layout.display == "none"
    opener.value = True
    assert inside.layout.display != "none"
    opener.value = False
    assert inside.layout.display == "none"
