"""Pieces of work, one after the other, each written down before the next begins.

Kept as JSON lines, so that whatever ends the process costs one piece: the next call goes on where
this one stopped, and tries no piece a third time that has ended the process twice.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mpkit.data.schema import strict


class Paused(Exception):
    """Time is up: what was done so far is kept, and the next call goes on."""


class Skipped(Exception):
    """This can't be had here; the message says why."""


class Piece(NamedTuple):
    """`run()` gives what was found, as JSON has it. It may raise `Paused` and `Skipped`, and needs
    about so many seconds if it can't pause."""

    group: str
    name: str
    run: Callable[[], dict]
    seconds: float = 5


class Clock:
    """So many minutes from now."""

    def __init__(self, minutes: float):
        self.end = time.monotonic() + 60 * minutes

    def over(self, needed: float = 0) -> bool:
        """Whether there is no time left for what needs so many seconds."""
        return self.left < needed / 60 or self.left <= 0

    @property
    def left(self) -> float:
        """Minutes."""
        return (self.end - time.monotonic()) / 60


class Ledger:
    """What became of each piece, in `folder`: results.jsonl, and results.md as a table."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.page = folder / "results.jsonl", folder / "results.md"
        self.rows: list[dict] = []
        for line in self.file.read_text("utf-8").splitlines() if self.file.exists() else ():
            try:
                self.rows.append(json.loads(line))
            except ValueError:  # the process was ended while it wrote
                continue

    def write(self, **row: object) -> None:
        """Add a row, and bring the table up to date."""
        self.rows.append(row)
        with self.file.open("a", encoding="utf-8") as file:
            if file.tell():  # a line that was cut short ends here
                file.write("\n")
            file.write(json.dumps(strict(row), ensure_ascii=False, allow_nan=False))
        self.page.write_text(self.table(), "utf-8")

    def of(self, name: str) -> list[dict]:
        """All rows of a piece."""
        return [row for row in self.rows if row.get("piece") == name]

    def closed(self, name: str, again: bool = False) -> bool:
        """Whether a piece is not to be run; `again`: what failed, or was skipped, is."""
        said = [row["state"] for row in self.of(name)]
        if said[-2:] == ["begun", "begun"]:
            self.write(piece=name, group=self.of(name)[-1]["group"], state="failed",
                       error="it ended the process, twice")  # fmt: skip
            return True
        ended = {"done"} if again else {"done", "failed", "skipped"}
        return bool(said) and said[-1] in ended

    def table(self) -> str:
        """The last word on each piece, as Markdown."""
        last = {
            row["piece"]: row for row in self.rows if "piece" in row and row["state"] != "begun"
        }
        calls = [row["machine"] for row in self.rows if "machine" in row]
        lines = [", ".join(f"{k} {v}" for k, v in calls[-1].items())] if calls else []
        group = None
        for row in last.values():
            if row["group"] != group:
                group = row["group"]
                lines += ["", f"## {group}", "", "| piece | | found | s |", "|---|---|---|---|"]
            found = row.get("error") or told(row.get("found", {}))
            cells = row["piece"], row["state"], found.replace("|", "/"), row.get("seconds", "")
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        return "\n".join(lines) + "\n"


def told(value: object) -> str:
    """What was found in one line; numbers to four digits."""
    if isinstance(value, dict):
        return "; ".join(f"{k} {told(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(told, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def go(
    pieces: Sequence[Piece],
    ledger: Ledger,
    clock: Clock,
    say: Callable[[str], object] = print,
    again: bool = False,
) -> bool:
    """Run what is left of the pieces, in turn: True if all are closed, False if time was up.

    Raises RuntimeError where the device itself is broken from then on (a CUDA error): only a new
    process helps.
    """
    for piece in pieces:
        if ledger.closed(piece.name, again):
            continue
        if clock.over(piece.seconds):
            say(f"time is up before {piece.name}")
            return False
        about, began = {"piece": piece.name, "group": piece.group}, time.monotonic()
        ledger.write(**about, state="begun")
        broken = None
        try:
            row = {"state": "done", "found": piece.run()}
        except Paused as error:
            row = {"state": "paused", "found": {"so far": str(error)}}
        except Skipped as error:
            row = {"state": "skipped", "error": str(error)}
        except Exception as error:
            lines = traceback.format_exc().splitlines()
            row = {"state": "failed", "error": told_of(error), "trace": lines[-8:]}
            broken = error if "CUDA error" in str(error) else None
        row["seconds"] = round(time.monotonic() - began, 1)
        ledger.write(**about, **row)
        say(f"{piece.name}: {row['state']} {row.get('error') or told(row['found'])}")
        if broken:
            raise RuntimeError(told_of(broken)) from broken
        if row["state"] == "paused":
            return False
    return True


def told_of(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
