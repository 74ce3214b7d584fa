"""Where data lie: what ships with a checkout, and what is fetched or computed once and kept."""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SHIPPED = CHECKOUT / "data"


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where downloads and decoded pictures are kept: `cache`, or else the first of these.

    The environment variable MPKIT_DATA; data/ in the checkout that mpkit runs from;
    ~/.cache/mpkit.
    """
    if cache := cache or os.environ.get("MPKIT_DATA"):
        return Path(cache).expanduser()
    if (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / "data/README.md").is_file():
        return CHECKOUT / "data"
    return Path.home() / ".cache" / "mpkit"
