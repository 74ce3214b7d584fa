"""What only the browser can do for a panel: accessible names, words that are spoken, the theme.

ipywidgets gives sliders and menus no accessible name, and replaces what it shows instead of telling
it. One small module in every panel (`front.js`) sees to both, and tells whether the page is dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import anywidget
import ipywidgets as widgets
import traitlets

from mpkit.lab.kit.canvas import Canvas


class Front(anywidget.AnyWidget):
    """Takes no room in the panel that it is in, which the browser finds by its class, mpkit-lab.

    Names: each control is called what the label in its row says. Words: what has
    ``role="status"``, and the alt texts of figures, are spoken when they have changed and stand
    still, those of a run at most every ten seconds. `dark` is set by the browser alone.
    """

    # Texts, not paths: anywidget would hold every widget for ever, to tell it of a changed file.
    _esm, _css = (Path(__file__).with_suffix(e).read_text("utf-8") for e in (".js", ".css"))
    known: ClassVar[bool] = False
    """What the page was when a panel last told: the next one begins with it."""
    title = traitlets.Unicode().tag(sync=True)
    dark = traitlets.Bool(False).tag(sync=True)

    def __init__(self, title: str):
        """`title` is what the panel is called."""
        super().__init__(title=title, dark=Front.known)
        self.layout.margin = "0"

    def follow(self, panel: widgets.Widget) -> None:
        """Draw the figures of a panel anew whenever the page turns dark, or light."""

        def turn() -> None:
            for canvas in canvases_in(panel):
                canvas.turn(self.dark)

        def turned(change: dict) -> None:
            Front.known = change["new"]
            turn()

        self.observe(turned, "dark")
        turn()


def heard(title: str, parts: Sequence[widgets.Widget]) -> widgets.VBox:
    """A panel that is no lab, with all that a `Front` does for one."""
    panel = widgets.VBox([*parts, Front(title)])
    panel.add_class("mpkit-lab")
    return panel


def canvases_in(root: widgets.Widget) -> Iterator[Canvas]:
    """All figures of a box, however deep."""
    if isinstance(found := getattr(root, "canvas", None), Canvas):
        yield found
    for child in getattr(root, "children", ()):
        yield from canvases_in(child)
