"""What matplotlib shows of a text that anybody may have written, such as a class's name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager

from mpkit.data.names import spelt
from mpkit.runs.letters import FONTS


def shown(text: str) -> str:
    """A text on one line as a figure shows it, letter by letter: no formula between $, seen in a
    legend behind a _, and by its number where no font here has it, [U+732B]."""
    text = spelt(text, lambda letter: any(_has(name, letter) for name in _families()))
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def find_letters() -> None:
    """Let matplotlib look for letters in the fonts of this machine, behind those that it has."""
    now = matplotlib.rcParams["font.family"]
    matplotlib.rcParams["font.family"] = [*now, *(name for name in _found() if name not in now)]


def _families() -> tuple[str, ...]:
    return tuple(matplotlib.rcParams["font.family"])


@cache
def _found() -> tuple[str, ...]:
    known = {Path(font.fname).name: font.name for font in font_manager.fontManager.ttflist}
    return tuple(dict.fromkeys(known[name] for name in FONTS if name in known))


@cache
def _has(family: str, letter: str) -> bool:
    path = font_manager.findfont(font_manager.FontProperties(family=[family]))
    return font_manager.get_font(path).get_char_index(ord(letter)) != 0
