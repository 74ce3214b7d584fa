"""One picture out of the bytes of a file: upright, on white, in grey or in colour."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

from PIL import Image, ImageOps

from mpkit.data.archives import DataError

# The decoders that may look at a file, whatever its name says: Pillow's for EPS starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF", "AVIF")
MAX_PIXELS = 1 << 24  # one picture: 4096 × 4096, checked before anything is decoded
TILE_WIDTH, TILE_LENGTH = 322, 323  # tags of TIFF
# What else is called picture: bytes, and where they stand.
OTHERS = (
    (4, b"ftypavi", "AVIF, which this Pillow does not read"),
    (4, b"ftyp", "HEIC, which is not read here: save it as JPEG"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop's"),
    (0, b"%PDF", "PDF"),
    (0, b"<", "HTML or SVG"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, whose file was not fetched"),
)


def decode(
    name: str, blob: bytes, most: int | None = None, least: int = 0
) -> tuple[Image.Image, bool]:
    """The picture in a file's bytes, in mode L or RGB, and whether some of it was transparent.

    It is turned and mirrored as its EXIF tag says, and what is transparent is seen on white. Where
    only `least` pixels a side are wanted, a large JPEG may come out smaller than it is. Raises
    DataError, which names it, for what does not decode, has over `most` pixels (MAX_PIXELS), or 16
    bits a channel.
    """
    most = most or MAX_PIXELS
    try:
        with _in_silence(), Image.open(io.BytesIO(blob), formats=_formats()) as image:
            tags = getattr(image, "tag_v2", {})  # of TIFF, whose decoder takes a tile whole
            for wide, high in (image.size, (tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1))):
                if wide * high > most:
                    raise ValueError(f"{wide} × {high} is over {most:,} pixels")
            if image.mode[0] in "IF":
                raise ValueError(f"mode {image.mode} is over 8 bits a channel: save it with 8")
            if least:
                image.draft(None, (least, least))
            image.load()
            return _on_white(_upright(image))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they please over damaged bytes
        why = _what(blob) if isinstance(error, Image.UnidentifiedImageError) else error
        raise DataError(f"{name} is no readable picture ({why}): replace or remove it") from error


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Without Pillow's own warnings, such as of damaged tags that nobody needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _formats() -> list[str]:
    """Those of FORMATS that this Pillow has."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _what(blob: bytes) -> str:
    kinds = (kind for at, magic, kind in OTHERS if blob[at : at + len(magic)] == magic)
    return f"it is {next(kinds, 'of another kind, or damaged' if blob else 'empty')}"


def _upright(image: Image.Image) -> Image.Image:
    with contextlib.suppress(Exception):  # a damaged tag is no tag, whatever its parser raises
        return ImageOps.exif_transpose(image)
    return image


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    mode, clear = "L" if image.mode in ("1", "L", "LA", "La") else "RGB", False
    if image.has_transparency_data:
        image = image.convert("RGBA")
        clear = image.getextrema()[3][0] < 255
        if clear:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode), clear
