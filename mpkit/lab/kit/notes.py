"""Words beside what was pressed or turned, and taken back when they are no longer true."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import ipywidgets as widgets

from mpkit.lab.kit.closing import close_all

Say = Callable[[str], object]
"""Shows a line in the panel."""


def spoken(text: str, bad: bool = False) -> str:
    """A line as HTML that screen readers tell; `bad` for what went wrong."""
    colour = "color:var(--jp-error-color1,#b00020);font-weight:600" if bad else ""
    return f'<span role="status" style="{colour}">{html.escape(text)}</span>'


class Note(widgets.HBox):
    """A line that takes no room while it says nothing. It is no wider than what it stands under."""

    def __init__(self):
        look = widgets.Layout(display="none", width="0", min_width="100%", flex_flow="row wrap")
        self.line = widgets.HTML()
        super().__init__([self.line], layout=look)

    def tell(
        self, text: str, bad: bool = False, ways: Sequence[tuple[str, Callable[[], object]]] = ()
    ) -> None:
        """Say this, with a button for each of the `ways` out: (its label, what it does)."""
        before = self.children[1:]
        buttons = [widgets.Button(description=label, button_style="info") for label, _ in ways]
        for button, (_, do) in zip(buttons, ways, strict=True):
            button.on_click(lambda _, do=do: do())
        self.line.value = spoken(text, bad) if text else ""
        self.children = [self.line, *buttons]
        self.layout.display = "" if text else "none"
        for button in before:
            close_all(button)


_place: ContextVar[Note | None] = ContextVar("place", default=None)


def place() -> Note | None:
    """Where to say what is said now: where this thread's hand has just pressed, if anywhere."""
    return _place.get()


@contextmanager
def beside(note: Note | None) -> Iterator[None]:
    """Whatever is said meanwhile, by whomever in this thread, is said in `note`, and what stood
    there goes; None: in the usual line."""
    if note is not None:
        note.tell("")
    token = _place.set(note)
    try:
        yield
    finally:
        _place.reset(token)


def notes_in(root: widgets.Widget) -> Iterator[Note]:
    """All notes of a box, however deep."""
    if isinstance(root, Note):
        yield root
    for child in getattr(root, "children", ()):
        yield from notes_in(child)


class Trying:
    """The part of a control that says why a value is refused, and takes that back with the next
    one that is right. `near`: what is said stands under the control."""

    def __init__(self, say: Say, near: bool):
        self.say, self.note, self._refused = say, Note() if near else None, False

    def under(self, row: widgets.Widget) -> widgets.Widget:
        """The row, and room for a word under it."""
        return widgets.VBox([row, self.note]) if self.note else row

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Around what may raise ValueError for a value."""
        with beside(self.note):
            try:
                if self._refused:
                    self.say("")
                self._refused = False
                yield
            except ValueError as error:
                self._refused = True
                self.say(str(error))


SIGNS = {"▶": ("Run", "run"), "↺": ("Reset", "reset")}
"""Ways out that words may name."""


class Speaking:
    """The part of a panel that speaks; it has a `message` and a `transport`."""

    def say(self, text: str, bad: bool = False) -> None:
        """A line beside what was pressed or turned, with the buttons whose signs are in it; or else
        under the status. `bad` for what went wrong."""
        if (note := place()) is None:
            self.message.value = spoken(text, bad)
        else:
            signs = [sign for sign in SIGNS if sign in text]
            note.tell(text, bad, [(f"{s} {SIGNS[s][0]}", partial(self._way, s)) for s in signs])

    def _way(self, sign: str) -> None:
        button = self.transport.buttons[SIGNS[sign][1]]
        if not button.disabled:
            button.click()
