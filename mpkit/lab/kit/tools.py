"""What stands around a run: a guess before it, curves that are kept, codes that are shared.

Each tool is told what to do, and knows no lab.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from typing import NamedTuple

import ipywidgets as widgets

from mpkit.lab.kit.closing import close_all
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.notes import Note, Say, beside
from mpkit.runs.card import card
from mpkit.runs.page import page
from mpkit.runs.story import Story

WRAP = {"flex_flow": "row wrap", "width": "100%", "grid_gap": "0 24px"}


class Question(NamedTuple):
    """What a student is asked to predict before a run: the answer is a number."""

    text: str
    low: int
    high: int
    value: int


class Line(NamedTuple):
    """A curve kept from an earlier run, to be drawn behind the present one."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


class ClosingBox(widgets.VBox):
    """A box that ends its lab when it is closed, and closes all that is in it."""

    def __init__(self, children, closing: Callable[[], object]):
        super().__init__(children)
        self._closing = closing

    def close(self) -> None:
        closing, self._closing = self._closing, lambda: None
        closing()
        close_all(self)


def guess_row(question: Question, answered: Callable[[int | None], object], say: Say):
    """The question with a slider, "Commit" and "Skip"; `answered` gets the number, or None."""
    number = Number("Your guess", question.value, question.low, question.high, lambda _: None, say)
    commit = widgets.Button(description="Commit", button_style="primary")
    skip = widgets.Button(description="Skip")

    def done(guess: int | None) -> None:
        for part in (commit, skip, number.slider, number.box):
            part.disabled = True
        say("" if guess is None else f"Your guess is {guess}.")
        answered(guess)

    commit.on_click(lambda _: done(number.value))
    skip.on_click(lambda _: done(None))
    text = widgets.HTML(html.escape(question.text))
    return widgets.VBox([text, widgets.HBox([number.widget, commit, skip])])


def fold(title: str, children: Sequence[widgets.Widget]) -> widgets.Widget:
    """Folded away under a button (an Accordion's title can't be reached with the keyboard)."""
    inside = widgets.Box(list(children), layout=widgets.Layout(display="none", **WRAP))
    opener = widgets.ToggleButton(
        description=title,
        icon="caret-right",
        layout=widgets.Layout(width="max-content", align_self="flex-start"),
    )
    opener.add_class("mpkit-opener")

    def turned(change: dict) -> None:
        inside.layout.display = "" if change["new"] else "none"
        opener.icon = "caret-down" if change["new"] else "caret-right"

    opener.observe(turned, "value")
    return widgets.VBox([opener, inside])


def keep_row(keep: Callable[[str], object], save: Callable[[], object] | None) -> widgets.Widget:
    """Keep this run's curve under a name, and the run as a folder, where it can be saved."""
    name, note = widgets.Text(placeholder="a name", layout=widgets.Layout(width="150px")), Note()
    held = lambda: keep(name.value.strip()[:40])  # noqa: E731
    row = [name, _button("Keep", "keep this curve", held, note)]
    if save:
        row.append(_button("Save", "the run as a folder that can be resumed", save, note))
    return widgets.VBox([widgets.HBox(row), note])


def picture_row(
    name: str, picture: Callable[[], bytes], story: Callable[[], Story] | None = None
) -> widgets.Widget:
    """Files behind links: the picture as a PNG, and of a `story` the card and the page."""
    link, note = widgets.HTML(), Note()

    def giver(kind: str, file: str, made: Callable[[], bytes]) -> Callable[[], None]:
        def given() -> None:
            link.value = ""
            try:
                data = base64.b64encode(made()).decode()
            except ValueError as error:  # nothing has run yet
                return note.tell(str(error))
            link.value = (
                f'<a download="{html.escape(file)}" href="data:{kind};base64,{data}">save the '
                f"{'page' if file.endswith('html') else 'picture'}</a>"
            )

        return given

    shown = giver("image/png", f"{name}.png", picture)
    row = [_button("PNG", "the picture as a file", shown, note)]
    if story:
        made = giver("image/png", f"{name}-card.png", lambda: card(story()))
        row.append(_button("Card", "what came of this run, on one picture", made, note))
        made = giver("text/html", f"{name}-page.html", lambda: page(story()).encode())
        row.append(_button("Page", "this run as one page that plays it", made, note))
    return widgets.VBox([widgets.HBox([*row, link]), note])


def share_row(give: Callable[[], str], take: Callable[[str], object], say: Say) -> widgets.Widget:
    """A short code of the settings, to be given away or pasted in."""
    text = widgets.Text(placeholder="share code", layout=widgets.Layout(width="150px"))
    note = Note()

    def given() -> None:
        text.value = give()
        say("The code of these settings is in the box: copy it.")

    buttons = [
        _button("Share", "a code of these settings", given, note),
        _button("Use", "take a code's settings", lambda: take(text.value), note),
    ]
    return widgets.VBox([widgets.HBox([text, *buttons]), note])


def _button(
    label: str, tip: str, clicked: Callable[[], object], note: Note | None
) -> widgets.Button:
    """What it says, it says in the note."""
    button = widgets.Button(description=label, tooltip=tip, layout=widgets.Layout(width="70px"))

    def pressed(_: object) -> None:
        with beside(note):
            clicked()

    button.on_click(pressed)
    return button
