"""Names as people write them: in any letters, in bytes of an old code page, in two spellings."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable

PAGES = ("cp437", "cp1252", "cp850")
"""Code pages that zips and old discs have names in, and say nothing of it. All have the same
accented letters at other places."""
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Letters that are orders: new lines, colours, and from right to left."""


def composed(text: str) -> str:
    """One spelling of what looks alike (NFC): é is one letter, and not an e with an accent."""
    return unicodedata.normalize("NFC", text)


def steady(text: str, but: str = "") -> str:
    """Text whose letters steer no terminal and turn no line: those that would are written as Python
    writes them, \\x1b; `but` some that may."""
    return STEERING.sub(lambda c: c[0] if c[0] in but else repr(c[0])[1:-1], text)


def of_class(folder: str) -> str:
    """What a class is called whose folder is called so: composed and `steady`."""
    return steady(composed(folder))


def read_name(raw: bytes) -> tuple[str, bool]:
    """A name of bytes, and whether that was guessed: UTF-8, or else the first of `PAGES` in which
    it has Latin letters only, or the first."""
    with contextlib.suppress(UnicodeDecodeError):
        return raw.decode("utf-8"), False
    texts = [raw.decode(page, "replace") for page in PAGES]
    likely = (text for text in texts if all(c.isascii() or _is_latin(c) for c in text))
    return next(likely, texts[0]), True


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN ")


def name_of_file(name: str) -> tuple[str, bool]:
    """`read_name`, of what Python makes of a file's bytes that are no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return read_name(name.encode("utf-8", "surrogateescape"))
    return name, False


def name_in_zip(name: str, utf8: bool) -> tuple[str, bool]:
    """`read_name`, of what Python makes of a member's bytes: cp437, unless the zip says `utf8`."""
    if not utf8:
        with contextlib.suppress(UnicodeEncodeError):  # it was told by other means
            return read_name(name.encode("cp437"))
    return name, False


def one_line(text: str) -> str:
    """Text on one line, composed, without letters that do nothing but steer others."""
    steers = ("Cc", "Cf", "Cs")
    kept = (c for c in composed(text) if c.isspace() or unicodedata.category(c) not in steers)
    return " ".join("".join(kept).split())


def spelt(text: str, has: Callable[[str], bool]) -> str:
    """`one_line`, and of the letters that a font does not have: the letter under the accent, or
    else the number, [U+732B]."""
    return "".join(c if c == " " or has(c) else _otherwise(c, has) for c in one_line(text))


def _otherwise(letter: str, has: Callable[[str], bool]) -> str:
    parts = [c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c)]
    return "".join(parts) if parts and all(map(has, parts)) else f"[U+{ord(letter):04X}]"
