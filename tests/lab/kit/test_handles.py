"""Handles over a figure, and what the kernel makes of what a browser sends."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from mpkit.lab.kit.handles import Handles


@pytest.fixture
def handles(heard):
    axes = Figure((4, 2)).add_axes((0.25, 0.5, 0.5, 0.4))
    axes.set(xlim=(-1, 1), ylim=(0, 4))
    found = Handles(axes, ["one", "two"], lambda *told: heard.append(told))
    found.show([(0.0, 1.0), (0.5, 2.0)], [(-0.5, 0.0, 0.5, 2.0), (-9.0, -9.0, 9.0, 9.0)])
    found.answers = []
    found.send = found.answers.append
    yield found
    found.close()


def sent(handles, **message) -> None:
    """As it comes from a browser."""
    handles._handle_custom_msg({"view": "a", "number": 1} | message, [])


def test_handles_lie_where_the_axes_are_in_the_picture(handles):
    assert handles.frame == pytest.approx([0.25, 0.1, 0.5, 0.4])
    assert handles.limits == [-1, 1, 0, 4]
    assert handles.boxes == [[-0.5, 0, 0.5, 2], [-1, 0, 1, 4]]  # never out of the axes


def test_a_place_is_told_held_within_its_box_and_answered(handles, heard):
    sent(handles, which=0, place=[3.0, 1.5])
    sent(handles, which=1, place=[3.0, -7], number=2)
    sent(handles, which=1, number=3)  # only taken
    assert heard == [(0, (0.5, 1.5)), (1, (1.0, 0.0)), (1, None)]
    assert handles.answers == [{"view": "a", "heard": n} for n in (1, 2, 3)]
    assert handles.places == [[0, 1], [0.5, 2]]  # the lab says where it is


def test_which_one_is_in_the_hand_is_known(handles):
    assert handles.held is None
    sent(handles, which=1, held=True)
    sent(handles, which=1, place=[0, 1], held=True, number=2)
    assert handles.held == 1
    sent(handles, which=1, number=3)
    assert handles.held is None


@pytest.mark.parametrize(
    "message",
    [{"which": 2, "place": [0, 0]}, {"which": -1}, {"which": True}, {"which": "0"}, {}],
)
def test_what_names_no_point_is_not_told(handles, heard, message):
    sent(handles, **message)
    assert heard == []
    assert handles.answers  # or the browser would wait


@pytest.mark.parametrize("place", [[1], "ab", [None, 1], [float("nan"), 0], {"x": 1}])
def test_what_is_no_place_moves_nothing(handles, heard, place):
    sent(handles, which=0, place=place)
    assert heard == [(0, None)]


def test_a_lab_that_fails_still_answers(handles):
    def fail(*_):
        raise RuntimeError("no")

    handles.moved = fail
    sent(handles, which=0, number=7)  # ipywidgets writes it into the log
    assert handles.answers == [{"view": "a", "heard": 7}]
    handles._handle_custom_msg("nonsense", [])
