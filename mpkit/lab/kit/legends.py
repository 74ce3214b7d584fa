"""What is named in a picture: curves in a legend that hides none of them, classes beside a plot."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mpkit.lab.kit.canvas import BLUE, GREY, PURPLE, font_size
from mpkit.lab.kit.letters import shown

KEPT_STYLES = ((GREY, ":"), (BLUE, "-."), (PURPLE, (0, (5, 1, 1, 1))))
"""For the last run, and for two that were named."""


def show_kept(axes: Axes, artists: Sequence, lines: Sequence) -> None:
    """Put up to three `Line`s onto artists that were made for them, and into the legend."""
    for i, artist in enumerate(artists):
        line = lines[i] if i < len(lines) else None
        artist.set_data((line.x, line.y) if line else ((), ()))
        artist.set_label(shown(line.label) if line else "_")
    if hasattr(axes, "held"):
        seen = [*seen_of(artists), *axes.held]
        axes.held = min(seen), max(seen)
    legend(axes)


def seen_of(artists: Sequence) -> list[float]:
    """The heights of some lines, but for what diverged."""
    return [float(y) for a in artists for y in a.get_ydata() if math.isfinite(y)]


def guess_line(axes: Axes) -> Line2D:
    """An upright line for a guess that nobody has made yet (`show_guess`)."""
    return axes.axvline(-1, color=PURPLE, ls=(0, (1, 1)), lw=2.5, label="_")


def show_guess(line: Line2D, guess: float | None) -> None:
    """Put `line` at the guess, and into the legend; None (skipped) leaves it out of sight."""
    if guess is None:
        return
    line.set_xdata([guess, guess])
    line.set_label(f"your guess: {guess:g}")
    legend(line.axes)


def legend(axes: Axes, **look: object) -> None:
    """All that has a name, at the upper edge, over all that is drawn there (see `hold`)."""
    size, names = font_size(axes.figure, 8), axes.get_legend_handles_labels()[1]
    letters = 0.6 * size * axes.figure.dpi / 72
    wide = 2 * (letters * max(map(width, names), default=0) + 5 * letters)
    look = {"ncols": 1 + (len(names) > 1 and wide < axes.bbox.width), "framealpha": 0.85} | look
    if not names and axes.get_legend():
        axes.get_legend().remove()
    elif names:
        axes.legend(fontsize=size, loc="upper right", borderaxespad=0.2, columnspacing=1.0, **look)
    if hasattr(axes, "held"):
        hold(axes, *axes.held)


def hold(axes: Axes, low: float, high: float) -> None:
    """Limits that show what lies from low to high (the upper end) under the legend, if there is
    one."""
    axes.held, found = (low, high), axes.get_legend()
    names = len(found.get_texts()) if found else 0
    rows = -(-names // found._ncols) if names else 0
    tall = (1.45 * rows + 1.2 * bool(rows)) * font_size(axes.figure, 8) * axes.figure.dpi / 72
    share = min(0.6, tall / axes.bbox.height)
    height = high - low or 1.0  # all at one height, as where nothing has moved
    axes.set_ylim(low, low + height / (1 - share))


def legend_below(axes: Axes, at: float = 0.0, columns: int = 5) -> None:
    """Under a plot, where it hides no point; ticks take the room down to `at`. Its letters are as
    large as the figure has room for."""
    size, middle = font_size(axes.figure, 8), axes.bbox.x0 + axes.bbox.width / 2
    room = 2 * min(middle, axes.figure.bbox.width - middle)
    for _ in range(2):
        found = axes.legend(
            fontsize=size, loc="upper center", bbox_to_anchor=(0.5, at), ncols=columns,
            frameon=False, columnspacing=1.0, labelspacing=0.2, handletextpad=0.3,
            markerscale=0.75,
        )  # fmt: skip
        size *= min(1.0, 0.98 * room / found.get_window_extent().width)


LONGEST = 16
"""Letters that a class is named with beside a plot."""


def width(name: str) -> int:
    """In letters; those of East Asia take two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in name)


def brief(name: str) -> str:
    """A class's name, without its middle where it is too long for the side of a plot: what tells
    names apart stands at an end."""
    if width(name) <= LONGEST:
        return name
    first, last = name[: LONGEST // 2], name[1 - LONGEST // 2 :]
    while width(first + last) >= LONGEST:
        first, last = first[:-1], last[1:]
    return f"{first}…{last}"
