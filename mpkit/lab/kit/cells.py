"""Which notebook cell a panel belongs to: running the cell again closes what it left running."""

from __future__ import annotations

import itertools
import weakref

from mpkit.lab.kit.runner import Runner

_count = itertools.count()
_owners: dict[str, tuple[object, list[weakref.ref[Runner]]]] = {}


def claim(place: str, execution: object, runner: Runner) -> None:
    """`runner` belongs to `place`, such as a notebook cell; those of its earlier executions close.

    So running a cell again leaves one thread, and two panels of one execution live side by side.
    """
    before, runners = _owners.get(place, (execution, []))
    if before != execution:
        for earlier in runners:
            if earlier() is not None:
                earlier().close(timeout=0)
        runners = []
    _owners[place] = (execution, [*runners, weakref.ref(runner)])


def here() -> tuple[str, object]:
    """The notebook cell that is being executed, and which execution of it this is."""
    try:
        from IPython import get_ipython

        shell = get_ipython()
        parent = shell.get_parent()
        cell = parent.get("metadata", {}).get("cellId") or "no cell"
        return cell, parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError):
        return f"no notebook, {next(_count)}", None
