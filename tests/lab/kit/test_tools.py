"""What stands around a run: a guess, names, a picture, a code; each tells whom it is told to."""

from __future__ import annotations

import base64
import re

import ipywidgets as widgets
import pytest

from mpkit.lab.kit.tools import (
    ClosingBox,
    Question,
    fold,
    guess_row,
    keep_row,
    picture_row,
    share_row,
)
from tests.runs.conftest import story


def named(box: widgets.Widget, name: str) -> widgets.Widget:
    """The button of a name, wherever in the box."""
    todo = [box]
    while todo:
        one = todo.pop()
        if getattr(one, "description", None) == name:
            return one
        todo += getattr(one, "children", ())
    raise AssertionError(f"there is no {name}")


@pytest.mark.parametrize(("press", "guess"), [("Commit", 4), ("Skip", None)])
def test_a_question_is_answered_once(press, guess, heard):
    said = []
    row = guess_row(Question("How many of <8>?", 0, 8, 4), heard.append, said.append)
    assert "&lt;8&gt;" in row.children[0].value
    named(row, press).click()
    assert heard == [guess]
    assert said == [f"Your guess is {guess}." if guess is not None else ""]
    assert named(row, "Commit").disabled
    assert named(row, "Skip").disabled


def test_the_guess_is_what_the_slider_says(heard):
    row = guess_row(Question("How many?", 0, 8, 4), heard.append, print)
    number = row.children[1].children[0]
    slider = next(w for w in number.children if isinstance(w, widgets.IntSlider))
    slider.value = 7
    named(row, "Commit").click()
    assert heard == [7]
    assert slider.disabled


def test_a_fold_hides_what_is_in_it_until_it_is_opened():
    inside = widgets.HTML("here")
    opener, box = fold("More", [inside]).children
    assert box.layout.display == "none"
    opener.value = True
    assert (box.layout.display, opener.icon) == ("", "caret-down")
    opener.value = False
    assert (box.layout.display, opener.icon) == ("none", "caret-right")


def test_a_run_is_kept_under_its_name(heard):
    row = keep_row(heard.append, None)
    row.children[0].children[0].value = "  strong  " + 60 * "x"
    named(row, "Keep").click()
    assert heard == [("strong  " + 60 * "x")[:40]]
    with pytest.raises(AssertionError):
        named(row, "Save")


def test_a_run_that_can_be_saved_has_a_button_for_it(heard):
    named(keep_row(print, lambda: heard.append("saved")), "Save").click()
    assert heard == ["saved"]


def linked(row: widgets.Widget) -> tuple[str, str, bytes]:
    """The file behind the row's link: its name, its kind and its bytes; none is linked yet: ""."""
    link = row.children[0].children[-1].value
    name, kind, data = re.search(
        'download="([^"]*)" href="data:([^;]*);base64,([^"]*)"', link
    ).groups()
    return name, kind, base64.b64decode(data)


def test_the_picture_is_a_link_to_its_bytes():
    row = picture_row('my "lab"', lambda: b"\x89PNG")
    assert row.children[0].children[-1].value == ""
    named(row, "PNG").click()
    assert linked(row) == ("my &quot;lab&quot;.png", "image/png", b"\x89PNG")
    with pytest.raises(AssertionError):
        named(row, "Card")


def test_a_run_is_given_away_as_a_card_and_as_a_page():
    row = picture_row("lab", lambda: b"", story)
    named(row, "Card").click()
    assert linked(row)[:2] == ("lab-card.png", "image/png")
    assert linked(row)[2].startswith(b"\x89PNG")
    named(row, "Page").click()
    assert linked(row)[:2] == ("lab-page.html", "text/html")
    assert linked(row)[2].startswith(b"<!DOCTYPE html>")


def test_a_run_that_is_none_yet_is_told_in_words():
    def none():
        raise ValueError("There is nothing <yet>.")

    row = picture_row("lab", lambda: b"", none)
    named(row, "Card").click()
    assert "nothing &lt;yet&gt;" in row.children[1].line.value
    assert row.children[0].children[-1].value == ""


def test_a_code_is_given_and_taken(heard):
    said = []
    row = share_row(lambda: "mpkit1.code", heard.append, said.append)
    named(row, "Share").click()
    assert row.children[0].children[0].value == "mpkit1.code"
    assert "copy it" in said[0]
    row.children[0].children[0].value = "mpkit1.other"
    named(row, "Use").click()
    assert heard == ["mpkit1.other"]


def test_closing_a_box_tells_once(heard):
    box = ClosingBox([], lambda: heard.append("closed"))
    box.close()
    box.close()
    assert heard == ["closed"]
