"""Which notebook cell a panel belongs to: running the cell again closes what it left running."""

from __future__ import annotations

import itertools
import weakref

_count = itertools.count()
_owners: dict[str, tuple[object, list[weakref.ref]]] = {}

ANY = "no cell"
"""The place of all cells, where the front end does not say which one it is."""


def claim(place: str, execution: object, lab) -> None:
    """`lab` belongs to `place`, such as a notebook cell; those of its earlier executions close.

    So running a cell again leaves one thread and one panel's widgets, and two panels of one
    execution live side by side. Where cells are not told apart, panels only stop: they may be seen.
    """
    if execution is None:  # a place of its own, that nobody comes to again
        return
    before, labs = _owners.get(place, (execution, []))
    labs = [earlier for earlier in labs if earlier() is not None]
    if before != execution:
        for earlier in labs:
            if (found := earlier()) is not None:
                (getattr(found, "runner", found) if place == ANY else found).close(timeout=0)
        labs = []
    _owners[place] = (execution, [*labs, weakref.ref(lab)])


def here() -> tuple[str, object]:
    """The notebook cell that is being executed, and which execution of it this is."""
    try:
        from IPython import get_ipython

        shell = get_ipython()
        parent = shell.get_parent()
        cell = parent.get("metadata", {}).get("cellId") or ANY
        return cell, parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError):
        return f"no notebook, {next(_count)}", None
