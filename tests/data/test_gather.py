"""A data set of photographs of any sizes, turned and cut and divided."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpkit.data import DataError, load_dataset
from mpkit.data.gather import gather
from tests.data.brought import TURNS, files
from tests.data.conftest import encoded, pack, pixels, tree

SIZES = [(403, 302), (302, 403), (480, 270), (64, 64), (50, 200)]


def photograph(c: int, i: int) -> Image.Image:
    """Grey, red above blue in its middle square, or blue above red: class 0 and 1."""
    wide, high = SIZES[i % len(SIZES)]
    side, image = min(wide, high), np.full((high, wide, 3), 128, np.uint8)
    left, top = (wide - side) // 2, (high - side) // 2
    colours = [(200, 0, 5 * i), (0, 5 * i, 200)]
    for half, colour in enumerate(colours if c == 0 else colours[::-1]):
        y = top + half * side // 2
        image[y : y + side // 2, left : left + side] = colour
    return Image.fromarray(image)


def phone(turned: bool = True, classes=("cat", "dog"), n: int = 8) -> dict[str, bytes]:
    """A folder a class of JPEGs of all sizes, each held in another way."""
    found = {}
    for c, name in enumerate(classes):
        for i in range(n):
            image, orientation = photograph(c, i), 1 + i % 8 if turned else 1
            exif = Image.Exif()
            exif[0x0112] = orientation
            stored = image.transpose(TURNS[orientation]) if orientation > 1 else image
            stored.save(file := io.BytesIO(), "JPEG", quality=95, subsampling=0, exif=exif)
            found[f"{name}/IMG_{i:04d}.JPG"] = file.getvalue()
    return found


@pytest.mark.parametrize("top", ["", "DCIM/", "my/DCIM/"])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_photographs_become_a_data_set(top, kind, tmp_path):
    source = pack(tmp_path, {top + k: v for k, v in phone().items()}, kind, name="photos")
    counts, notes = gather(source, tmp_path / "new" / "pets", size=16)
    assert counts == {"train": {"cat": 6, "dog": 6}, "test": {"cat": 2, "dog": 2}}
    assert notes == []
    for part, numbers in zip(
        load_dataset(tmp_path / "new/pets"), (range(6), range(6, 8)), strict=True
    ):
        assert part.shape == (3, 16, 16)
        assert part.classes == ("cat", "dog")
        upper, lower = (
            pixels(part)[:, :, rows, 2:14].mean((2, 3)) for rows in (slice(1, 7), slice(9, 15))
        )
        for y, above, below in zip(part.y.tolist(), upper, lower, strict=True):
            red, blue = (above, below) if y == 0 else (below, above)
            assert red[0] > 190 > 60 > red[1]
            assert blue[2] > 190 > 60 > blue[0]
        seen = {
            (int(y), round(float(min(a[2], b[2])) / 5))
            for y, a, b in zip(part.y, upper, lower, strict=True)
        }
        assert seen == {(c, i) for c in (0, 1) for i in numbers}  # the last by name are to test on


def test_the_whole_picture_stands_on_white(tmp_path):
    source = pack(tmp_path, phone(n=5))
    gather(source, tmp_path / "whole", 32, "whole")
    train, _ = load_dataset(tmp_path / "whole")
    corners = pixels(train)[:, :, ::31, ::31]
    square = (corners < 250).any(axis=(1, 2, 3))
    assert not square.all()
    assert (corners[~square] == 255).all()


def test_what_is_divided_stays_so(tmp_path):
    source = pack(tmp_path, files(splits=("Training", "val")))
    counts, _ = gather(source, tmp_path / "out", 8)
    assert counts == {"train": {"cat": 3, "dog": 3}, "test": {"cat": 2, "dog": 2}}


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    more = {"cat/a.HEIC": b"\0\0\0\x18ftypheic", "dog/b.jpg": b"\0\0\0\x18ftypheic", "c.png": b"",
            "dog/.hidden.jpg": b"", "dog/film.mp4": b""}  # fmt: skip
    counts, notes = gather(pack(tmp_path, phone() | more), tmp_path / "out")
    assert counts["train"] == {"cat": 6, "dog": 7}  # nine of dog are there, one cannot be read
    assert "3 files are no pictures of a class" in notes[0]
    assert ".heic is not read here: save as JPEG" in notes[0]
    assert "1 could not be read and are left out; the first: 'dog/b.jpg'" in notes[1]
    assert "it is HEIC" in notes[1]


@pytest.mark.parametrize(
    ("given", "how", "words"),
    [
        ({"cat/1.png": b"", "cat/2.png": b""}, {}, r"no folder a class.* Found: 2 \.png in 'cat/'"),
        ({"1.png": b"", "2.png": b""}, {}, r"no folder a class.* Found: 2 \.png in no folder"),
        ({"train/1.png": b"", "test/1.png": b""}, {}, "no folder a class"),
        ({}, {}, "Found: no file"),
        (tree(), {"size": 4}, "size must lie between 8 and 1024, not 4"),
        (tree(), {"share": 1.0}, "test must be a share above 0 and below 1, not 1.0"),
        (tree(), {"crop": "left"}, "crop 'left' is unknown; there are: middle, whole"),
        (
            {"cat/1.png": encoded(1), "dog/1.png": encoded(2)},
            {},
            "class 'cat' of .* has 0 pictures to train on and 1 to test on, and needs some of both",
        ),
        (
            {"cat/1.png": b"x", "dog/1.png": b"y"},
            {},
            r"has 0 pictures .*; 2 could not be read, the first",
        ),
    ],
)
def test_what_cannot_be_made_leaves_nothing(given, how, words, tmp_path):
    source = pack(tmp_path, given)
    source.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=words):
        gather(source, tmp_path / "place" / "out", **how)
    assert not any(Path(tmp_path, "place").glob("*"))


def test_nothing_is_written_over(tmp_path):
    source = pack(tmp_path, phone())
    with pytest.raises(DataError, match="is there already: name a folder that is not"):
        gather(source, source)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="no pictures can be written to"):
        gather(source, tmp_path / "file" / "out")
