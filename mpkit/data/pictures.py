"""Pictures decoded once and kept as one array of bytes that later loads map instead of reading.

`read_pictures` decodes train/<class>/ and test/<class>/; `remember` keeps the result in a cache
folder. A file in the cache is whole or absent, and never a pickle.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mpkit.data import files
from mpkit.data.archives import DataError, read_members
from mpkit.data.decoding import decode
from mpkit.data.layout import ENDINGS, LAYOUT, SPLITS, Place, found_in, no_layout, places
from mpkit.data.names import of_class
from mpkit.data.places import quoted

MAX_TOTAL = 1 << 30  # bytes of all pictures, decoded: 1 GiB, seven times CIFAR-10


class Pictures(NamedTuple):
    """Decoded pictures: pixels (N, C, H, W) uint8, class names, and how many each class has.

    `train` and `test` hold one count per class, none of them zero. All of train stands before all
    of test in `pixels`, and each is sorted by class, so the counts are the labels. `notes` say in
    words what was done to them that their owner should know.
    """

    pixels: np.ndarray
    classes: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    notes: tuple[str, ...] = ()


def remember(folder: Path, key: str, build: Callable[[], Pictures]) -> Pictures:
    """The `Pictures` kept in `folder` under `key`; where absent or damaged, built and kept."""
    try:
        about = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        fields = [tuple(about[field]) for field in ("classes", *SPLITS)]
        pixels = load_array(folder / f"{key}.npy")
        if pixels is not None and pixels.ndim == 4 and len(pixels) == sum(fields[1] + fields[2]):
            return Pictures(pixels, *fields, tuple(map(str, about.get("notes", ()))))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    pictures = build()
    fields = ("classes", *SPLITS, "notes")
    about = json.dumps({field: getattr(pictures, field) for field in fields}, allow_nan=False)
    # The description goes last: where it stands, the pixels stand too.
    if save(folder / f"{key}.npy", lambda file: np.save(file, pictures.pixels)):
        save(folder / f"{key}.json", lambda file: file.write(about.encode()))
    return pictures


def save(path: Path, write: Callable[[BinaryIO], object]) -> bool:
    """`files.write`, for what can be done without.

    Warns and returns False where the disk refuses: a cache is a convenience, and nobody is
    stopped by its loss.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, write)
    except OSError as error:
        warnings.warn(
            f"cannot write {path} ({error}): going on without it, so the next load is as slow as "
            "this one. Set MPKIT_DATA, or cache=, to a folder with room that you may write to",
            stacklevel=2,
        )
        return False
    return True


def load_array(path: Path) -> np.ndarray | None:
    """The uint8 array in a .npy file, mapped rather than read; None where there is no such."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if isinstance(array, np.ndarray) and array.dtype == np.uint8 else None


def read_pictures(path: Path, progress: bool = True) -> Pictures:
    """Decode the pictures at `path`, a folder or an archive, laid out as `places` reads it.

    Grey pictures stay one channel when all are grey; else all become RGB. Each is seen upright and
    on white (`decode`). Hidden files are passed over, and so, with a note, are files that are no
    pictures of a class.

    Raises DataError as `read_members` and `places` do, and for a picture that does not decode or
    has another size than the rest, fewer than two classes, a class with no pictures, or pictures
    that are all the same.
    """
    from tqdm import tqdm

    guessed: list[str] = []
    names = [name for name, _ in read_members(path, lambda name: False, guessed)]
    at, strangers = places(str(path), names)
    total, arrays = 0, {}  # place → pixels, (H, W) or (H, W, 3)
    first, clear = None, []
    members = read_members(path, lambda name: name in at)
    label = f"decoding {path.name}"
    for name, blob in tqdm(members, label, unit=" files", delay=1, disable=not progress):
        if blob is None:
            continue
        array, see_through = _decode(f"{name!r} in {path}", blob)
        arrays[at[name]] = array
        clear += [name] * see_through
        total += array.nbytes
        _check_total(path, total)
        first = first or (name, array.shape[:2])
        _check_size(path, *first, name, array.shape[:2])
    spelt, counts = _counted(path, at, arrays, names)
    order = sorted(arrays, key=lambda p: (SPLITS.index(p.split), p.spelt, p.file))
    grey = all(array.ndim == 2 for array in arrays.values())
    _check_total(path, total if grey else 3 * len(arrays) * math.prod(first[1]))
    pixels = _stack([arrays.pop(place) for place in order], 1 if grey else 3)
    if len(pixels) > 1 and all(np.array_equal(picture, pixels[0]) for picture in pixels):
        raise DataError(
            f"all {len(pixels)} pictures in {path} are the same{', seen on white' * bool(clear)}: "
            "there is nothing to learn. Look at one of them, and bring others"
        )
    notes = notes_of(path, clear, guessed)
    if strangers:
        notes[:0] = [f"{path}: {_ignored(strangers)}; {LAYOUT}, and end in {', '.join(ENDINGS)}"]
    return Pictures(pixels, tuple(map(of_class, spelt)), *counts, tuple(notes))


def _ignored(files: list[str]) -> str:
    if len(files) == 1:
        return f"one file is ignored, {files[0]!r}"
    return f"{len(files)} files are ignored, such as {files[0]!r}"


def _counted(path: Path, at: dict[str, Place], arrays: dict, names: list[str]):
    """The classes as they are spelt, sorted, and their numbers of pictures, a tuple a split."""
    counts = {split: {} for split in SPLITS}
    for split, spelt, _ in at.values():
        counts[split].setdefault(spelt, 0)
    for split, spelt, _ in arrays:
        counts[split][spelt] += 1
    for split in SPLITS:
        if not counts[split]:
            raise DataError(no_layout(str(path), split, names))
    try:
        spelt = check_classes(str(path), counts)
    except DataError as error:
        raise DataError(f"{error}. Found: {found_in(names)}") from error
    return spelt, (tuple(counts[split][name] for name in spelt) for split in SPLITS)


def check_classes(source: str, counts: dict[str, dict[str, int]]) -> tuple[str, ...]:
    """The sorted names of the classes in counts[split][class], their numbers of pictures.

    Raises DataError unless there are two or more, each with pictures in train and in test.
    """
    for split in SPLITS:
        if not counts[split]:
            raise DataError(f"{source} has no {split}/ folder with classes in it: {LAYOUT}")
    classes = tuple(sorted({*counts["train"], *counts["test"]}))
    if len(classes) < 2:
        raise DataError(f"{source} has one class, {classes[0]!r}; it takes two or more: {LAYOUT}")
    for name in classes:
        train, test = (counts[split].get(name, 0) for split in SPLITS)
        if not train or not test:
            raise DataError(
                f"class {name!r} of {source} has {train} pictures in train/ and {test} in test/; "
                "every class needs some in both: add them, or remove the class"
            )
    return classes


def notes_of(path: Path, clear: Sequence[str], guessed: Sequence[str]) -> list[str]:
    """In words, which pictures are transparent, and that the letters of names are guessed."""
    notes = []
    if clear:
        notes.append(
            f"{path}: {len(clear)} pictures are transparent in places, such as {clear[0]!r}: they "
            "are seen on white"
        )
    if guessed:
        notes.append(
            f"{path} does not say in which letters its names are: {guessed[0]!r} is a guess. Where "
            "it is wrong, pack or name them anew, in UTF-8"
        )
    return notes


def _decode(name: str, blob: bytes) -> tuple[np.ndarray, bool]:
    image, clear = decode(name, blob)
    return np.asarray(image), clear


def _check_size(
    path: Path, first: str, expected: tuple[int, int], name: str, size: tuple[int, int]
) -> None:
    if size != expected:
        one, other = (f"{width} × {height}" for height, width in (expected, size))
        raise DataError(
            f"pictures differ in size: {first!r} is {one} (width × height), {name!r} is {other}. "
            f"Resize them all to one size: `mpkit pictures {quoted(path)} --out pets` does"
        )


def _check_total(path: Path, total: int) -> None:
    if total > MAX_TOTAL:
        raise DataError(
            f"the pictures in {path} take more than {MAX_TOTAL / 1e9:.1f} GB of memory: take "
            "fewer, or make them smaller"
        )


def _stack(arrays: list[np.ndarray], channels: int) -> np.ndarray:
    """Arrays into one; each is let go of once it is there, so that all are held but once."""
    pixels = np.empty((len(arrays), channels, *arrays[0].shape[:2]), np.uint8)
    arrays.reverse()
    for row in pixels:
        array = arrays.pop()
        row[:] = array.transpose(2, 0, 1) if array.ndim == 3 else array  # grey fills every channel
    return pixels
