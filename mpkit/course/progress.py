"""What a student has solved, chosen and scored, in one small file of theirs; nothing leaves the
machine.

``MPKIT_PROGRESS`` names another file; "off" keeps nothing. Nor is it kept without a home folder.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path

from mpkit.data import files
from mpkit.data.places import at


def file() -> Path | None:
    """Where progress is kept; None if it is not."""
    named = os.environ.get("MPKIT_PROGRESS", "")
    if named == "off":
        return None
    try:
        return at(named or "~/.mpkit/progress.json")
    except ValueError:  # no home folder: the course goes on without
        return None


def _all() -> dict:
    path = file()
    return files.known_json(path) if path else {}


def solved() -> dict[str, str]:
    """Exercise or quiz → the day it was solved. A file that cannot be read counts as empty."""
    return {name: day for name, day in _all().items() if isinstance(day, str)}


def remember(name: str) -> None:
    """Note that `name` is solved. A folder that cannot be written to is no reason to stop."""
    if name not in solved():
        _write(name, datetime.date.today().isoformat())


def kept(name: str) -> dict:
    """What `keep` was last given under this name, by this process or another; empty if nothing.
    Anybody may have written in the file: look at it before it is used."""
    found = _all().get(name)
    return found if isinstance(found, dict) else {}


def keep(name: str, value: dict) -> None:
    """Keep a JSON object under a name that no exercise and no quiz has."""
    _write(name, value)


def _write(name: str, value: str | dict) -> None:
    if (path := file()) is None:
        return
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.change_json(path, {name: value})


def report(chapter: str, names: list[str]) -> str:
    """One line: how many of a chapter's exercises are solved."""
    done = [n for n in names if n in solved()]
    rest = [n for n in names if n not in done]
    line = f"Chapter {chapter}: {len(done)} of {len(names)} solved"
    return line + (f"; open: {', '.join(rest)}" if rest else ".")
