"""Closing a widget with all that is in it."""

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
