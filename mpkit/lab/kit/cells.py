"""Which notebook cell a panel belongs to: running the cell again closes what it left running."""

from __future__ import annotations

import itertools
import weakref

_count = itertools.count()
_owners: dict[str, tuple[object, list[weakref.ref]]] = {}


def claim(place: str, execution: object, lab) -> None:
    """`lab` belongs to `place`, such as a notebook cell; those of its earlier executions close.

    So running a cell again leaves one thread and one panel's widgets, and two panels of one
    execution live side by side.
    """
    if execution is None:  # a place of its own, that nobody comes to again
        return
    before, labs = _owners.get(place, (execution, []))
    labs = [earlier for earlier in labs if earlier() is not None]
    if before != execution:
        for earlier in labs:
            if (found := earlier()) is not None:
                found.close(timeout=0)
        labs = []
    _owners[place] = (execution, [*labs, weakref.ref(lab)])


def here() -> tuple[str, object]:
    """The notebook cell that is being executed, and which execution of it this is.

    Voilà, papermill and the classic Notebook do not say which cell it is. There every lab has a
    place of its own: any of the others may be on the page, and in use.
    """
    try:
        from IPython import get_ipython

        parent = get_ipython().get_parent()
        return parent["metadata"]["cellId"], parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError):
        return f"no cell, {next(_count)}", None
