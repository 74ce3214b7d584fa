"""Pictures decoded once and kept as one array of bytes that later loads map instead of reading.

`read_pictures` decodes train/<class>/ and test/<class>/; `remember` keeps the result in a cache
folder. A file in the cache is whole or absent, and never a pickle.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mpkit.data import files
from mpkit.data.archives import DataError, read_members

SPLITS = ("train", "test")
LAYOUT = "pictures belong in train/<class>/ and test/<class>/, the same classes in both"
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
# The decoders that may look at a file, whatever its name says: Pillow's for EPS starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
MAX_PIXELS = 1 << 24  # one picture: 4096 × 4096, checked before anything is decoded
MAX_TOTAL = 1 << 30  # bytes of all pictures, decoded: 1 GiB, seven times CIFAR-10


class Pictures(NamedTuple):
    """Decoded pictures: pixels (N, C, H, W) uint8, class names, and how many each class has.

    `train` and `test` hold one count per class, none of them zero. All of train stands before all
    of test in `pixels`, and each is sorted by class, so the counts are the labels.
    """

    pixels: np.ndarray
    classes: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]


def remember(folder: Path, key: str, build: Callable[[], Pictures]) -> Pictures:
    """The `Pictures` kept in `folder` under `key`; where absent or damaged, built and kept."""
    try:
        about = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
        fields = [tuple(about[field]) for field in ("classes", *SPLITS)]
        pixels = load_array(folder / f"{key}.npy")
        if pixels is not None and pixels.ndim == 4 and len(pixels) == sum(fields[1] + fields[2]):
            return Pictures(pixels, *fields)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    pictures = build()
    about = json.dumps(
        {field: getattr(pictures, field) for field in ("classes", *SPLITS)}, allow_nan=False
    )
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
    """Decode train/<class>/* and test/<class>/*, possibly inside one more folder, at `path`.

    `path` is a folder or an archive. Grey pictures stay one channel when all are grey; else all
    become RGB, without transparency. Hidden files are passed over, and so, with one warning, are
    files that are no pictures of a class.

    Raises DataError as `read_members` does, and for a picture that does not decode or has another
    size than the rest, no train/ or test/, fewer than two classes, or a class with no pictures.
    """
    from tqdm import tqdm

    total, arrays = 0, {}  # (split, class, file) → pixels, (H, W) or (H, W, 3)
    counts = {split: {} for split in SPLITS}
    tops, strangers, first = set(), [], None
    members = read_members(path, lambda name: (_place(name) or " ")[-1] != "")
    label = f"decoding {path.name}"
    for name, blob in tqdm(members, label, unit=" files", delay=1, disable=not progress):
        place = _place(name)
        if place is None:
            strangers += [] if name.endswith("/") or _is_junk(name) else [name]
            continue
        top, *place = place
        tops.add(top)
        if place[1]:
            counts[place[0]].setdefault(place[1], 0)
        if blob is not None:
            array = arrays[tuple(place)] = _decode(f"{name!r} in {path}", blob)
            total += array.nbytes
            _check_total(path, total)
            first = first or (name, array.shape[:2])
            _check_size(*first, name, array.shape[:2])
    for split, class_, _ in arrays:
        counts[split][class_] += 1
    if len(tops) > 1:
        places = ", ".join(repr(top + "/") for top in sorted(tops))
        raise DataError(f"{path} has train/ or test/ in several places, {places}: keep one")
    classes = check_classes(str(path), counts)
    _warn_of(strangers, path)
    order = sorted(arrays, key=lambda place: (SPLITS.index(place[0]), place[1:]))
    grey = all(array.ndim == 2 for array in arrays.values())
    _check_total(path, total if grey else 3 * len(arrays) * math.prod(first[1]))
    pixels = _stack([arrays.pop(place) for place in order], 1 if grey else 3)
    return Pictures(pixels, classes, *(tuple(counts[s][c] for c in classes) for s in SPLITS))


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


def _place(name: str) -> tuple[str, str, str, str] | None:
    # (folder around train/ and test/ or "", split, class or "", file or ""); None if elsewhere
    parts = name.rstrip("/").split("/")
    top = "" if parts[0] in SPLITS else parts.pop(0)
    if not parts or parts[0] not in SPLITS or _is_junk(name):
        return None
    if name.endswith("/"):
        return top, parts[0], "".join(parts[1:2]), ""
    if len(parts) < 3 or not name.lower().endswith(ENDINGS):
        return None
    return top, parts[0], parts[1], "/".join(parts[2:])


def _is_junk(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in JUNK for part in name.split("/"))


def _warn_of(strangers: list[str], path: Path) -> None:
    if strangers:
        warnings.warn(
            f"{path}: {len(strangers)} files are ignored, such as {strangers[0]!r}; {LAYOUT}, and "
            f"end in {', '.join(ENDINGS)}",
            stacklevel=3,
        )


def _decode(name: str, blob: bytes) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(blob), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} is over {MAX_PIXELS:,} pixels")
            if image.mode[0] in "IF":
                raise ValueError(f"mode {image.mode} is over 8 bits a channel: save it with 8")
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they please over damaged bytes
        raise DataError(f"{name} is no readable picture ({error}): replace or remove it") from error


def _check_size(first: str, expected: tuple[int, int], name: str, size: tuple[int, int]) -> None:
    if size != expected:
        one, other = (f"{width} × {height}" for height, width in (expected, size))
        raise DataError(
            f"pictures differ in size: {first!r} is {one} (width × height), {name!r} is {other}. "
            "Resize them all to one size"
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
