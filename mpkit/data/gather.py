"""A data set of photographs: of a folder a class, in any sizes, squares of one size are made."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from PIL import Image, ImageOps

from mpkit.data.archives import DataError, read_members
from mpkit.data.decoding import decode
from mpkit.data.layout import CALLED, SPLITS, Place, found_in, is_picture, places
from mpkit.data.names import composed

CROPS: dict[str, Callable] = {"middle": ImageOps.fit, "whole": ImageOps.pad}
"""How a picture becomes a square: the largest in its middle, or all of it between white edges."""
WORDS = {"middle": "the square in the middle of each picture", "whole": "each whole, on white"}
LARGEST = 1 << 28  # pixels of a photograph; it is held once, and a JPEG smaller than it is
SIZES = 8, 1024


def gather(
    source: Path, out: Path, size: int = 32, crop: str = "middle", share: float = 0.25
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Make train/<class>/ and test/<class>/ in `out`, a new folder, of the pictures in a folder or
    an archive that has a folder a class, or both of these already.

    Each is turned as its tag says, seen on white, made a square as CROPS says, and scaled to `size`
    × `size`. Where they are not divided yet, the last `share` of each class by its file's name is
    to test on: cameras count, and pictures taken one after the other, which are alike, are on the
    same side. Gives the numbers of pictures, counts[split][class], and what to know of them in
    words. Raises DataError for what cannot be done; then nothing is left.
    """
    _refuse(out, size, crop, share)
    names = [name for name, _ in read_members(source, lambda name: False)]
    at, notes = _divided(str(source), names, share)
    counts, broken = {split: {} for split in SPLITS}, []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = out.with_name(f".{out.name}.{uuid.uuid4().hex}.part")
        try:
            for name, blob in read_members(source, at.__contains__):
                if blob is None:
                    continue
                split, kind, file = at[name]
                try:
                    image, _ = decode(repr(name), blob, LARGEST, 2 * size)
                except DataError as error:
                    broken.append(str(error))
                    continue
                image = CROPS[crop](image, (size, size), Image.Resampling.LANCZOS, **_white(crop))
                number = counts[split][kind] = counts[split].get(kind, 0) + 1
                _save(image, part / split / kind, number, file)
            _refuse_lacking(source, {place.spelt for place in at.values()}, counts, broken)
            part.rename(out)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise DataError(f"no pictures can be written to {out}: {error}") from error
    if broken:
        notes.append(f"{len(broken)} could not be read and are left out; the first: {broken[0]}")
    return counts, notes


def _refuse(out: Path, size: int, crop: str, share: float) -> None:
    if out.exists():
        raise DataError(f"{out} is there already: name a folder that is not")
    if not SIZES[0] <= size <= SIZES[1]:
        raise DataError(f"size must lie between {SIZES[0]} and {SIZES[1]}, not {size}")
    if crop not in CROPS:
        raise DataError(f"crop {crop!r} is unknown; there are: {', '.join(CROPS)}")
    if not 0 < share < 1:
        raise DataError(f"test must be a share above 0 and below 1, not {share}")


def _refuse_lacking(source: Path, classes: set[str], counts: dict, broken: list[str]) -> None:
    for name in sorted(classes):
        train, test = (counts[split].get(name, 0) for split in SPLITS)
        if not train or not test:
            why = f"; {len(broken)} could not be read, the first: {broken[0]}" if broken else ""
            raise DataError(
                f"class {name!r} of {source} has {train} pictures to train on and {test} to test "
                f"on, and needs some of both: add more, or take it away{why}"
            )


def _divided(source: str, names: Sequence[str], share: float) -> tuple[dict[str, Place], list[str]]:
    """The place of each picture, as it is or by the order of names; and notes."""
    try:
        at, strangers = places(source, names)
    except DataError:
        at, strangers = {}, []
    at = {name: place for name, place in at.items() if place.file}
    if not at:
        at, strangers = _by_class(source, names, share)
    if not strangers:
        return at, []
    return at, [f"{len(strangers)} files are no pictures of a class: {found_in(strangers)}"]


def _by_class(source: str, names: Sequence[str], share: float) -> tuple[dict, list[str]]:
    files = [name for name in names if not name.endswith("/")]
    pictures = sorted(filter(is_picture, files))
    folders = [name.split("/")[:-1] for name in pictures]
    depth = len([*takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))])
    classes: dict[str, list[str]] = {}
    for name, parts in zip(pictures, folders, strict=True):
        if len(parts) > depth:
            classes.setdefault(composed(parts[depth]), []).append(name)
    if len(classes) < 2 or any(re.sub(r"[\W_]", "", name.lower()) in CALLED for name in classes):
        raise DataError(
            f"{source} has no folder a class, such as cat/ and dog/. Found: {found_in(files)}"
        )
    at = {}
    for kind, mine in classes.items():
        last = len(mine) - max(1, round(share * len(mine)))
        at |= {name: Place(SPLITS[i >= last], kind, name) for i, name in enumerate(mine)}
    return at, [name for name in files if name not in at]


def _white(crop: str) -> dict:
    return {"color": "white"} if crop == "whole" else {}


def _save(image: Image.Image, folder: Path, number: int, file: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w-]+", "_", Path(file).stem)[:60]
    image.save(folder / f"{number:04d}-{stem}.png")
