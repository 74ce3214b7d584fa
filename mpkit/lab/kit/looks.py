"""How the three arms of an experiment look in every picture, and how a count is written."""

from __future__ import annotations

from matplotlib.text import Text

from mpkit.lab.kit.canvas import BLUE, GREY, RED
from mpkit.rates import Rate
from mpkit.tally import with_diverged

LOOKS = {"poisoned": (RED, "o", "-"), "clean": (BLUE, "s", "--"), "noise": (GREY, "^", ":")}
"""Colour, marker and line of every arm."""


def show_count(words: Text, found: Rate, diverged: int = 0) -> None:
    """8 of 8, say, above the point that stands at the rate; at an end it is written inwards."""
    words.set_text(with_diverged(f"{found.successes} of {found.n}", diverged))
    words.set_x(found.rate)
    words.set_ha("left" if found.rate < 0.2 else "right" if found.rate > 0.8 else "center")
