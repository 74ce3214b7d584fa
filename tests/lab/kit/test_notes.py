"""What is said stands where the person looks, with its way out, and goes when it is not true."""

from __future__ import annotations

import threading

import ipywidgets as widgets
import pytest
import torch

from mpkit.lab import CollisionLab, CraftLab, VictimsLab
from mpkit.lab.kit.controls import Choice, Number, Thumbnails
from mpkit.lab.kit.notes import Note, beside, notes_in, place
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import finished, press

pytestmark = pytest.mark.usefixtures("unpainted")


def test_a_note_takes_no_room_while_it_says_nothing():
    note = Note()
    assert note.layout.display == "none"
    note.tell("<b> & so", bad=True)
    assert note.layout.display == ""
    assert "&lt;b&gt; &amp; so" in note.line.value
    note.tell("")
    assert (note.layout.display, note.line.value) == ("none", "")


def test_a_way_out_is_a_button_that_goes_with_its_words(heard):
    note = Note()
    note.tell("first this", ways=[("do it", lambda: heard.append("done"))])
    _, button = note.children
    button.click()
    assert (button.description, heard) == ("do it", ["done"])
    note.tell("then that")
    assert note.children == (note.line,)
    assert button.comm is None  # closed: ipywidgets keeps what is not


def test_what_another_thread_says_is_not_said_beside_a_button():
    found = []
    with beside(Note()) as _:
        thread = threading.Thread(target=lambda: found.append(place()))
        thread.start()
        thread.join()
        assert place() is not None
    assert found == [None]
    assert place() is None


def test_an_error_goes_with_the_next_value_that_is_right(heard):
    said, turned = [], []

    def turn(value) -> None:
        if value == 4:
            raise ValueError("four is refused")
        turned.append(value)

    number = Number("K", 3, 1, 8, turn, said.append)
    number.box.value = 99
    assert "between 1 and 8" in said[-1]
    number.box.value = 4
    assert said[-1] == "four is refused"
    number.box.value = 5
    assert (said[-1], turned) == ("", [5])
    number.box.value = 6
    assert said == ["K must lie between 1 and 8, not 99.", "", "four is refused", ""]
    assert Choice("c", ["a"], "a", heard.append, said.append).note is None
    assert (
        Thumbnails("t", torch.rand(0, 1, 8, 8), [], -1, heard.append, said.append).note is not None
    )


# ── in labs ───────────────────────────────────────────────────────────────────────────────────


def words(lab) -> dict[Note, str]:
    return {note: note.line.value for note in notes_in(lab.panel) if note.line.value}


def button(box: widgets.Box, label: str) -> widgets.Button:
    """The button of this name in a box, however deep."""
    if getattr(box, "description", "") == label and isinstance(box, widgets.Button):
        return box
    found = (button(child, label) for child in getattr(box, "children", ()))
    return next(filter(None, found), None)


@pytest.mark.parametrize("label", ["Keep", "Save", "Use"])
def test_a_tool_speaks_in_its_own_row(lab, label):
    rows = [row for row in lab.panel.children[-1].children if button(row, label)]
    button(lab.panel, label).click()
    (note,) = words(lab)
    assert note in rows[0].children
    assert lab.message.value == ""


def test_what_to_do_first_can_be_done_beside_the_words(lab, until):
    button(lab.panel, "Keep").click()
    (note,) = words(lab)
    assert "▶ first" in note.line.value
    button(note, "▶ Run").click()
    assert not words(lab)  # it is done: the words have gone
    until(lambda: lab.runner.phase is Phase.DONE)
    button(lab.panel, "Keep").click()
    assert lab.named


@pytest.mark.parametrize("kind", [CraftLab, CollisionLab])
def test_a_class_that_is_refused_is_refused_beside_it(kind, small):
    lab = small(kind, target_class="1", poison_class="7")
    target = lab.controls["target_class"]
    target.row.press(1)
    assert list(words(lab)) == [target.note]
    assert "must differ" in target.note.line.value
    target.row.press(0)
    assert not words(lab)


def test_what_waits_for_a_reset_says_so_beside_it_and_can_be_had(small, until):
    lab = small(VictimsLab)
    finished(lab, until)
    for name in ("lr", "epochs"):
        lab.controls[name].box.value = lab.controls[name].low
        assert "After reset" in lab.controls[name].note.line.value
    button(lab.controls["lr"].note, "↺ Reset").click()
    assert lab.runner.phase is Phase.READY
    assert lab.attack.victim_recipe.epochs == lab.controls["epochs"].low
    assert not words(lab)


def test_what_acts_at_the_next_step_is_said_in_the_line_above(lab, until):
    lab.controls["craft_steps"].box.value = 60
    press(lab, "run")
    until(lambda: lab.records)
    lab.controls["epsilon"].box.value = 10
    assert "next craft step" in lab.message.value
    assert not words(lab)


def test_a_run_that_diverged_can_be_run_with_a_lower_rate(lab):
    lab.controls["lr"].box.value = 0.05
    assert lab.attack.settings.recipe.lr == lab.attack.victim_recipe.lr == 0.05
    assert lab.knobs().recipe.lr == 0.05
    other = CraftLab(data="digits", n_train=60, n_test=60, classes=("1", "7"))
    try:
        other.use_code(lab.code())
        assert other.controls["lr"].value == 0.05
    finally:
        other.close()
