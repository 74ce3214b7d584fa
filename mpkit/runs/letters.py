"""Text on pictures, in any letters: of Pillow's own font, or else of one that is found here."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

from mpkit.data.names import spelt

OWN = ""
"""The name of Pillow's own font here. It has English letters, and no others."""
FONTS = (
    "DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSans.ttc",
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "msyh.ttc", "simsun.ttc",
    "YuGothM.ttc", "msgothic.ttc", "malgun.ttf", "Arial Unicode.ttf", "Hiragino Sans GB.ttc",
    "STHeiti Medium.ttc", "AppleSDGothicNeo.ttc", "unifont.ttf", "unifont.otf", "seguisym.ttf",
    "NotoSansSymbols2-Regular.ttf", "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "Nirmala.ttf", "LeelawUI.ttf",
)  # fmt: skip
"""Files of fonts that systems have, in the order in which they are asked for a letter."""
ADVICE = "such as Noto Sans CJK or GNU Unifont"


def written(text: str) -> str:
    """One line of text as it can be drawn here; letters that no font has by their numbers."""
    return spelt(text, lambda letter: _name_for(letter) is not None)


def width(text: str, size: int) -> float:
    """Pixels that `write` takes."""
    return sum(font.getlength(part) for font, part in _parts(text, size))


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: tuple,
    anchor: str = "la",
) -> None:  # fmt: skip
    """Draw a `written` text. `anchor` as Pillow's: l or m across, a (top) or m up and down; by the
    measures of Pillow's own font, whichever is drawn with."""
    x, y = at
    ascent, descent = _font(OWN, size).getmetrics()
    x -= width(text, size) / 2 if anchor[0] == "m" else 0
    y += ascent if anchor[1] == "a" else (ascent - descent) / 2
    for font, part in _parts(text, size):
        draw.text((x, y), part, colour, font, anchor="ls")
        x += font.getlength(part)


def _parts(text: str, size: int) -> list[tuple[ImageFont.FreeTypeFont, str]]:
    """A text in pieces of one font each: one piece, where a font has all of it."""
    for name in _names(text):
        if all(_has(name, letter) for letter in text):
            return [(_font(name, size), text)]
    pieces = groupby(text, lambda letter: _name_for(letter) or OWN)
    return [(_font(name, size), "".join(part)) for name, part in pieces]


def _names(text: str) -> tuple[str, ...]:
    return (OWN,) if text.isascii() else (OWN, *FONTS)


@cache
def _name_for(letter: str) -> str | None:
    return next((name for name in _names(letter) if _has(name, letter)), None)


@cache
def _has(name: str, letter: str) -> bool:
    """Whether a font draws a letter otherwise than what no font has."""
    if (font := _font(name, 32)) is None:
        return False
    drawn, missing = (font.getmask(one) for one in (letter, "\uffff"))
    return letter.isspace() or (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    if name == OWN:
        return ImageFont.load_default(size)
    with contextlib.suppress(OSError):
        return ImageFont.truetype(name, size)  # which looks in the system's folders
    with contextlib.suppress(OSError, ValueError, AttributeError):
        theirs = Path(find_spec("matplotlib").origin).with_name("mpl-data")  # not imported
        return ImageFont.truetype(str(theirs / "fonts" / "ttf" / name), size)
    return None
