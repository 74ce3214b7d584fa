"""Which pictures are to train on and which to test on, by the names of folders.

train/<class>/ and test/<class>/ may be called otherwise, and lie deeper: whatever has one meaning
is read, and what has none is told as it was found.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mpkit.data.archives import DataError
from mpkit.data.names import composed
from mpkit.data.places import quoted

SPLITS = ("train", "test")
LAYOUT = "pictures belong in train/<class>/ and test/<class>/, the same classes in both"
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".gif", ".webp", ".avif", ".ppm", ".pgm",
    ".tif", ".tiff",
)  # fmt: skip
# Without _, -, . and spaces, in small letters. What is to validate on is for tests where there are
# no others.
CALLED = {
    name + more: kind
    for kind, names in {
        "train": ("train", "training"),
        "test": ("test", "testing", "tests"),
        "validation": ("val", "valid", "validation", "eval", "dev"),
    }.items()
    for name in names
    for more in ("", "set", "data", "images", "pictures")
}
UNREAD = (".heic", ".heif", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".pdf")


class Place(NamedTuple):
    """Where a picture belongs: one of `SPLITS`, its class as it is spelt there, and its file."""

    split: str
    spelt: str
    file: str


def is_picture(name: str) -> bool:
    """Whether a file is a picture, by its name."""
    return name.lower().endswith(ENDINGS)


def places(source: str, names: Iterable[str]) -> tuple[dict[str, Place], list[str]]:
    """Where each picture among the `names` (of folders with a / at their end) belongs, and each
    folder of a class, whose file is ""; and the files that belong nowhere.

    Classes that look alike are spelt alike. Raises DataError for no layout, or for several.
    """
    names = list(names)
    top, splits = _root(source, names)
    found, strangers = {}, []
    for name in names:
        inside = name[len(top) :] if name.startswith(top) else ""
        first, _, rest = inside.partition("/")
        spelt, slash, file = rest.partition("/")
        if first in splits and slash and (name.endswith("/") or is_picture(file)):
            file = "" if name.endswith("/") else file
            found[name] = Place(splits[first], spelt, file)
        elif not name.endswith("/"):
            strangers.append(name)
    alike = {}
    for spelt in sorted({place.spelt for place in found.values()}):
        alike.setdefault(composed(spelt), spelt)
    for name, (split, spelt, file) in found.items():
        if spelt != (one := alike[composed(spelt)]):  # two files may have one name then
            found[name] = Place(split, one, file and f"{spelt}/{file}")
    return found, strangers


def _root(source: str, names: list[str]) -> tuple[str, dict[str, str]]:
    """The folder that holds what is to train and to test on ("" or ending in /), and which of its
    folders are which."""
    seen = defaultdict(lambda: defaultdict(set))  # folder → kind → what it is called there
    for name in names:
        parts = name.split("/")[:-1]
        for i, part in enumerate(parts):
            if kind := CALLED.get(re.sub(r"[\W_]", "", part.lower())):
                seen["".join(f"{p}/" for p in parts[:i])][kind].add(part)
    whole = [top for top, kinds in seen.items() if "train" in kinds and len(kinds) > 1]
    whole = [top for top in whole if not any(top != t and top.startswith(t) for t in whole)]
    if not whole:
        lacking = "test" if any("train" in kinds for kinds in seen.values()) else "train"
        raise DataError(no_layout(source, lacking, names))
    if len(whole) > 1:
        several = ", ".join(repr(top) for top in sorted(whole))
        raise DataError(f"{source} has train/ or test/ in several places, {several}: keep one")
    kinds = seen[whole[0]]
    if "test" in kinds:
        kinds.pop("validation", None)
    for spelt in kinds.values():
        if len(spelt) > 1:
            both = " and ".join(repr(f"{whole[0]}{name}/") for name in sorted(spelt))
            raise DataError(f"{source} has {both}, which mean the same: keep one")
    return whole[0], {s: "train" if k == "train" else "test" for k, (s,) in kinds.items()}


def no_layout(source: str, lacking: str, names: Sequence[str]) -> str:
    """What is said where there is no train/ or no test/."""
    make = f". `mpkit pictures {quoted(source)} --out pets` makes them of a folder a class"
    return (
        f"{source} has no {lacking}/ folder with classes in it: {LAYOUT}. Found: "
        f"{found_in(names)}{make * any(map(is_picture, names))}"
    )


def found_in(names: Sequence[str]) -> str:
    """The files among names in words: folder by folder, how many of which ending."""
    count = defaultdict(Counter)
    for name in names:
        folder, slash, file = name.rpartition("/")
        if file:
            ending = file[file.rfind(".") :] if "." in file else "without ending"
            count[folder + slash][ending.lower()] += 1
    shown = [
        f"{' and '.join(f'{n} {ending}' for ending, n in endings.most_common(3))} "
        f"{f'in {folder[-60:]!r}' if folder else 'in no folder'}"
        for folder, endings in sorted(count.items())[:6]
    ]
    more = [f"and {len(count) - 6} more folders"] if len(count) > 6 else []
    unread = sorted({e for endings in count.values() for e in endings if e in UNREAD})
    hint = f" ({' and '.join(unread)} is not read here: save as JPEG or PNG)" if unread else ""
    return (", ".join(shown + more) or "no file") + hint
