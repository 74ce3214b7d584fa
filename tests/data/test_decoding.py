"""One picture: upright, on white, and what it is when it is none."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, features

from mpkit.data import DataError
from mpkit.data.decoding import decode
from tests.data.brought import TURNS


def picture(mode: str = "RGB") -> Image.Image:
    """A picture whose corners all differ."""
    levels = np.zeros((8, 16), np.uint8)
    levels[:4, :8], levels[:4, 8:], levels[4:, :8] = 250, 160, 80
    return Image.fromarray(levels).convert(mode)


def file(image: Image.Image, form: str, **how) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def off(image: Image.Image, wanted: Image.Image) -> int:
    """How far two pictures differ at most, away from edges."""
    assert image.size == wanted.size
    both = (np.asarray(i.convert("L")).astype(int)[2::4, 2::4] for i in (image, wanted))
    return int(abs(next(both) - next(both)).max())


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [1, *TURNS])
def test_the_tag_is_followed_in_every_format_that_has_one(form, orientation):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture().transpose(TURNS[orientation]) if orientation > 1 else picture()
    seen, clear = decode("x", file(stored, form, exif=exif))
    assert off(seen, picture()) < 12
    assert not clear


@pytest.mark.parametrize("damaged", [b"Exif\0\0", b"Exif\0\0II*\0oh no", b"Exif\0\0MM\0*\xff"])
def test_a_damaged_tag_is_none_and_nobody_is_told(damaged):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen, _ = decode("x", file(picture(), "JPEG", exif=damaged))
    assert off(seen, picture()) < 12


@pytest.mark.parametrize(
    ("mode", "form"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")]
)
def test_what_is_transparent_is_seen_on_white(mode, form):
    alpha = Image.fromarray(np.repeat([[0, 51, 255, 255]], 8, 0).astype(np.uint8).repeat(4, 1))
    ink = Image.merge(mode, [Image.new("L", (16, 8), 55)] * (len(mode) - 1) + [alpha])
    seen, clear = decode("x", file(ink, form, **({"lossless": True} if form == "WEBP" else {})))
    assert clear
    assert seen.mode == ("L" if mode == "LA" else "RGB")
    row = np.asarray(seen.convert("L"))[3, 2::4].tolist()
    assert row == [255, 215, 55, 55]  # 255 − (255 − 55) · 51/255


def test_what_could_be_transparent_and_is_not_stays_as_it_is():
    for mode in ("RGBA", "LA"):
        seen, clear = decode("x", file(picture(mode), "PNG"))
        assert not clear
        assert off(seen, picture()) == 0


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_a_colour_that_means_nothing_is_white(form):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 0, 0, 0] + [0] * 762)
    image.paste(0, (0, 0, 2, 4))
    seen, clear = decode("x", file(image, form, transparency=1))
    assert clear
    assert np.asarray(seen)[0].tolist() == [[10, 20, 30]] * 2 + [[255] * 3] * 2
    grey = Image.fromarray(np.array([[0, 90]], np.uint8))
    seen, clear = decode("x", file(grey, "PNG", transparency=0))
    assert (seen.mode, clear, np.asarray(seen).tolist()) == ("L", True, [[255, 90]])


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        (b"", "it is empty"),
        (b"\0\0\0\x18ftypheic", "it is HEIC"),
        (b"\0\0\0\x18ftypmif1", "it is HEIC"),
        (b"%PDF-1.7", "it is PDF"),
        (b"8BPS\0\1", "it is Photoshop's"),
        (b"\xff\x0a\0", "it is JPEG XL"),
        (b"<svg>", "it is HTML or SVG"),
        (b"version https://git-lfs.github.com", "a pointer of Git LFS"),
        (b"words", "of another kind, or damaged"),
    ],
)
def test_what_is_no_picture_is_told_as_what_it_is(blob, words):
    with pytest.raises(DataError, match=f"here is no readable picture .*{words}") as caught:
        decode("here", blob)
    assert "object at" not in str(caught.value)


def test_a_large_jpeg_is_not_decoded_larger_than_it_need_be():
    blob = file(Image.new("RGB", (800, 640)), "JPEG")
    assert decode("x", blob)[0].size == (800, 640)
    assert decode("x", blob, least=80)[0].size == (100, 80)
    with pytest.raises(DataError, match="800 × 640 is over 1,000 pixels"):
        decode("x", blob, most=1000)


def tiled(side: int) -> bytes:
    """A TIFF file of 16 × 16 pixels in one tile of so many pixels a side."""
    data = zlib.compress(bytes(side * side), 9)
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side}
    tags |= {324: 8 + 2 + 12 * 10 + 4, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def test_a_small_picture_in_a_huge_tile_is_not_unpacked():
    assert decode("a", tiled(64))[0].size == (16, 16)
    with pytest.raises(DataError, match="5000 × 5000 is over 16,777,216 pixels"):
        decode("a", tiled(5000))  # a decoder would take it whole, up to 2 GB
