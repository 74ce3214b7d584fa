"""Where data lie: what ships with a checkout, and what is fetched or computed once and kept."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SHIPPED = CHECKOUT / "data"


def at(path: str | Path, way_out: str = "write the path in full") -> Path:
    """A path as users write it, ~ and ~name for home folders. Raises ValueError where there is no
    such home: a container's user may have none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        whose = Path(path).parts[0]
        raise ValueError(
            f"{str(path)!r} is nowhere: there is no home folder {whose} here; {way_out}"
        ) from None


def quoted(path: str | Path) -> str:
    """A path as it is typed in a command of this system's shell."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where downloads and decoded pictures are kept: `cache`, or else the first of these.

    The environment variable MPKIT_DATA; data/ in the checkout that mpkit runs from;
    ~/.cache/mpkit. Raises ValueError where all that is named is a home folder that is not there.
    """
    if cache := cache or os.environ.get("MPKIT_DATA"):
        return at(cache)
    if (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "data/README.md").is_file():
        return CHECKOUT / "data"
    return at("~/.cache/mpkit", "set MPKIT_DATA to a folder for what is kept")
