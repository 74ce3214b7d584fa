"""What commands say: results on stdout, progress and advice on stderr."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from mpkit.data.files import locked
from mpkit.data.names import steady

PLAIN = str.maketrans({
    "✓": "ok", "✗": "NO", "→": "->", "ε": "epsilon", "δ": "delta", "σ": "sigma", "−": "-",
    "–": "-", "…": "...", "×": "x", "≤": "<=", "≥": ">=", "±": "+-",
})  # fmt: skip
"""What mpkit's own letters become where a stream lacks them."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    lacking = error.object[error.start : error.end].translate(PLAIN)
    return "".join(c if c.isascii() else "?" for c in lacking), error.end


codecs.register_error("mpkit", _plainly)


def ready_streams() -> None:
    """Streams that take whatever is said. One that the shell closed (>&-) becomes a sink: else
    printing fails, and the next file that is opened would get its number and what it is sent."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not one that stands in for the real one
            stream.reconfigure(errors="mpkit")


def show(text: str) -> None:
    """A result, on stdout."""
    _print(text, sys.stdout)


def say(text: str, stream: TextIO | None = None) -> None:
    """How it goes, on stderr: letters of names and paths steer no terminal."""
    _print(steady(text, "\n"), stream or sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """A letter that the stream lacks is written out or "?", and a reader that has gone is no error.
    Raises ValueError for a result that can't be written."""
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "mpkit").decode(encoding), file=stream, flush=True)
    except OSError as error:
        # Python flushes again at its end, and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):  # … | head
            raise ValueError(f"the output can't be written: {error.strerror}") from error


def refuse_unwritable(path: str | None) -> None:
    """A file for --json, before a long run and not at its end. Raises ValueError."""
    if path in (None, "-"):
        return
    file, folder = Path(path), Path(path).parent
    usable = os.access(file if file.exists() else folder, os.W_OK)
    if file.is_dir() or not folder.is_dir() or not usable:
        raise ValueError(f"--json {path!r} can't be written: name a file in a folder that is there")


class Progress:
    """A bar with the time left; where stderr is no terminal, a line at most every `every` seconds.

    A bar redraws its line many times a second, which makes a log file unreadable.
    """

    def __init__(
        self, name: str, unit: str, total: int, done: int = 0, quiet: bool = False, every: float = 5
    ):
        self.name, self.unit, self.total, self.quiet, self.every = name, unit, total, quiet, every
        self.first = self.done = done
        self.began, self.told = time.perf_counter(), -float("inf")
        self.bar = None
        if not quiet and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=f"{name:<8}", unit=unit)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def reach(self, done: int, note: str = "") -> None:
        """`done` of `total` are done."""
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.done)
        self.done, now = done, time.perf_counter()
        late = now - self.told >= self.every or done == self.total
        if self.bar is None and late and not self.quiet:
            self.told = now
            left = (now - self.began) / max(1, done - self.first) * (self.total - done)
            notes = [note] * bool(note) + [f"{tqdm.format_interval(left)} left"] * (left > 0)
            say(", ".join([f"{self.name} {self.unit} {done} of {self.total}", *notes]))

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.bar is not None:
            self.bar.write(text, sys.stderr)
        elif not self.quiet:
            say(text)


def line_by_line(name: str, work: Callable[[Path], int]) -> int:
    """Work whose results go into the file `name` one by one, and which goes on there when it is
    given again: its exit code, 130 where it was interrupted. Raises ValueError where the file can't
    be written, or somebody else writes to it."""
    out = Path(name)
    lock = out.resolve().with_name(f".{out.name}.lock")
    try:
        with locked(lock, str(out)):
            return work(out)
    except OSError as error:
        raise ValueError(f"results can't be written: {error}; name another --out") from error
    except KeyboardInterrupt:
        if out.is_file() and out.stat().st_size:
            say(f"\nStopped; {out} keeps what is done. Give the same command again.")
        else:
            say("\nStopped before any result was recorded.")
        return 130
