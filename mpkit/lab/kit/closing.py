"""Closing a widget with all that is in it, and a lab with all that it holds."""

from __future__ import annotations

import ipywidgets as widgets


def close_all(root: widgets.Widget) -> None:
    """Close a widget with all that is in it, folded away or not, down to layouts and styles:
    ipywidgets keeps whatever is not closed, and all that its callbacks hold."""
    waiting, seen = [root], set()
    while waiting:
        widget = waiting.pop()
        if widget in seen or (widget.comm is None and widget is not root):
            continue
        seen.add(widget)
        for name in widget.keys:
            value = getattr(widget, name, None)
            some = value if isinstance(value, tuple | list) else [value]
            waiting += [part for part in some if isinstance(part, widgets.Widget)]
    for widget in seen:
        widgets.Widget.close(widget)


class Closed(AttributeError):
    """The lab is gone."""


class Closing:
    """The part of a `Lab` that ends. A closed lab holds nothing, as `Out` of a notebook and a
    variable may go on holding the lab; but for its runner, with which one can wait for its thread.
    """

    def close(self, timeout: float | None = None) -> None:
        """Take the panel away with all its widgets and all data, and end its thread; see `end`."""
        if "panel" not in vars(self):
            return
        self.end(timeout)
        panel, runner = self.panel, self.runner
        with runner.forgetting():
            # At once, for threads that ask for something meanwhile.
            self.__dict__ = {"runner": runner}
        panel.close()

    def __getattr__(self, name: str) -> object:
        """Of what is not there. Raises Closed where that is because the lab is closed."""
        if vars(self).keys() == {"runner"}:
            lab = type(self).__name__
            raise Closed(f"this {lab} is closed, and all that it held is gone: run its cell again")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
