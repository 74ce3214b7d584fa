"""Hints behind a button: each is shown when it is asked for, and the next one is offered."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets as widgets

from mpkit.lab.kit.front import heard


class Hints:
    """The hints of an exercise, from `number` on (counted from 1); those before it are shown.

    Where no browser answers (a page of a notebook, a terminal) hint `number` stands there folded,
    or as plain text. Raises ValueError where there is no such hint.
    """

    def __init__(self, name: str, hints: Sequence[str], number: int = 1):
        if not 1 <= number <= len(hints):
            raise ValueError(f"{name} has hints 1 to {len(hints)}, not {number}")
        self.hints, self.shown, self.text = tuple(hints), number - 1, hints[number - 1]
        self.title = f"Hint {number} of {len(hints)}"
        self.words = widgets.HTML()
        self.button = widgets.Button(layout=widgets.Layout(width="max-content"), icon="lightbulb-o")
        self.button.on_click(lambda _: self.show())
        self.widget = heard(f"Hints for {name}", [self.words, self.button])
        self._tell()

    def show(self) -> None:
        """One hint more, if there is one."""
        self.shown = min(self.shown + 1, len(self.hints))
        self._tell()

    def _tell(self) -> None:
        count = len(self.hints)
        rows = [f"<b>{i}.</b> {html.escape(h)}" for i, h in enumerate(self.hints, 1)]
        self.words.value = f'<span role="status">{"<br>".join(rows[: self.shown])}</span>'
        self.button.disabled = self.shown == count
        more = f"Show hint {self.shown + 1} of {count}"
        self.button.description = "No more hints" if self.button.disabled else more

    def __str__(self) -> str:
        return f"{self.title}:\n{self.text}"

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, object]:
        folded = f"<summary>{self.title}</summary><p>{html.escape(self.text)}</p>"
        plain = {"text/plain": str(self), "text/html": f"<details>{folded}</details>"}
        return self.widget._repr_mimebundle_() | plain
