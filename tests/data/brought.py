"""Folders and archives as people bring them: layouts, formats, names, junk and broken files.

    python -m tests.data.brought FOLDER     # makes them all, to look at

Each is of two classes, whose pictures are told apart by colour, and each by its own shade; all four
corners differ, so that a picture that is turned, mirrored or darkened is another one.
"""

from __future__ import annotations

import io
import os
import sys
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.data.conftest import pack

HIGH, WIDE = 12, 16
SPLITS = {"train": 3, "test": 2}
CASES: dict[str, Case] = {}
TURNS = {  # EXIF's orientation → what was done to the upright picture before it was stored
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip
NFC, NFD = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))


class Case(NamedTuple):
    """Something that is brought: how it is made in a folder, and what must come of it: class names,
    or the words of a refusal; `note` are the words of a note, "" for none."""

    make: Callable[[Path], Path]
    classes: tuple[str, ...] = ("cat", "dog")
    refused: str = ""
    note: str = ""
    grey: bool = False


def brought(*, refused: str = "", note: str = "", classes=("cat", "dog"), grey: bool = False):
    """Put a function that makes something into CASES."""

    def kept(make):
        CASES[make.__name__] = Case(make, classes, refused, note, grey)
        return make

    return kept


def upright(split: str, c: int, i: int, grey: bool = False) -> np.ndarray:
    """The picture number i of class c as people see it, (HIGH, WIDE, 3) uint8."""
    image = np.full((HIGH, WIDE, 3), 235, np.uint8)
    shade = 20 * i + 10 * list(SPLITS).index(split)
    image[:6, :8] = (200 - shade, 30, 30) if c == 0 else (30, 30, 200 - shade)
    image[6:, :8] = 120
    image[6:, 8:] = 0
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB")) if grey else image


def saved(image: Image.Image, form: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **{"JPEG": {"quality": 95, "subsampling": 0}}.get(form, {}), **how)
    return file.getvalue()


def png(image: Image.Image, _: int) -> bytes:
    return saved(image, "PNG")


def files(encode=png, ending=".png", classes=("cat", "dog"), splits=("train", "test")) -> dict:
    """Name → bytes; `encode` gets the upright picture and its number over all."""
    return {
        f"{folder}/{name}/IMG_{i}{ending}": encode(
            Image.fromarray(upright(split, c, i)), i + 3 * c + 6 * s
        )
        for s, ((split, n), folder) in enumerate(zip(SPLITS.items(), splits, strict=True))
        for c, name in enumerate(classes)
        for i in range(n)
    }


class Raw(zipfile.ZipInfo):
    """A member of a zip whose name is in a code page, of which the zip says nothing."""

    def _encodeFilenameFlags(self):
        return self.filename.encode(self.page), 0


def zipped(folder: Path, found: dict[str, bytes], page: str) -> Path:
    with zipfile.ZipFile(folder / "pets.zip", "w") as archive:
        for name, blob in found.items():
            member = Raw(name)
            member.page = page
            archive.writestr(member, blob)
    return folder / "pets.zip"


def inside(top: str, found: dict[str, bytes]) -> dict[str, bytes]:
    return {top + name: blob for name, blob in found.items()}


# ── layouts ─────────────────────────────────────────────────────────────────────────────────────

for _name, _splits, _kind in (
    ("as_asked", ("train", "test"), "folder"),
    ("capitals", ("Train", "Test"), "folder"),
    ("shouting", ("TRAIN", "TEST"), "zip"),
    ("gerunds", ("training", "testing"), "tar.gz"),
    ("sets", ("training_set", "test_set"), "zip"),
    ("words", ("Train Images", "test-images"), "folder"),
    ("validation", ("train", "val"), "folder"),
    ("valid", ("train", "valid"), "tar"),
    ("two_deep", ("x/data/train", "x/data/test"), "zip"),
    ("one_in_another", ("train/train", "test/test"), "tar"),
    ("of_kaggle", ("x/seg_train/seg_train", "x/seg_test/seg_test"), "zip"),
    ("in_a_folder_called_test", ("test/train", "test/test"), "zip"),
    ("in_a_folder_called_train", ("train/train", "train/test"), "folder"),
):
    CASES[_name] = Case(lambda to, s=_splits, k=_kind: pack(to, files(splits=s), k))


@brought(note="6 files are ignored, such as 'valid/")
def three_parts(to):
    more = files(splits=("valid", "unused"))
    return pack(to, files() | {k: v for k, v in more.items() if "unused" not in k})


@brought(refused=r"no train/ folder .*3 \.png in 'cat/', 3 \.png in 'dog/'\. `mpkit pictures")
def a_folder_a_class(to):
    found = files(splits=("train", "x"))
    return pack(to, {k.removeprefix("train/"): v for k, v in found.items() if k[0] == "t"}, "zip")


@brought(refused=r"no train/ folder .*10 \.jpg in no folder")
def all_in_one_folder(to):
    return pack(to, {f"{i}.jpg": blob for i, blob in enumerate(files().values())})


@brought(refused=r"no train/ folder with classes in it.*4 \.png in 'test/', 6 \.png in 'train/'")
def no_class_folders(to):
    return pack(to, {k.replace("/", ".").replace(".", "/", 1): v for k, v in files().items()})


@brought(refused=r"no test/ folder with classes in it.*Found: 3 \.png in 'train/cat/'")
def nothing_to_test_on(to):
    return pack(to, {k: v for k, v in files().items() if k.startswith("train")})


@brought(refused=r"'train/' and 'training/', which mean the same: keep one")
def two_to_train_on(to):
    return pack(to, files() | files(splits=("training", "test")))


@brought(refused="in several places, 'a/train/', 'b/train/': keep one")
def two_sets_in_one(to):
    return pack(to, inside("a/", files()) | inside("b/", files()), "zip")


@brought(refused=r"class 'Cat' .* 3 pictures in train/ and 0 in test/.* 2 \.png in 'test/cat/'")
def classes_in_other_letters(to):
    return pack(to, {k.replace("train/cat", "train/Cat"): v for k, v in files().items()}, "tar")


@brought(refused=r"one class, 'cat'; it takes two or more.*3 \.png in 'train/cat/'")
def one_class(to):
    return pack(to, {k: v for k, v in files().items() if "cat" in k})


@brought(refused=r"no train/ folder .*Found: 2 \.zip in no folder")
def zips_in_a_zip(to):
    return pack(to, {"train.zip": b"PK", "test.zip": b"PK"}, "zip")


@brought(refused=r"no train/ folder .*Found: no file$")
def an_empty_folder(to):
    (to / "pets").mkdir()
    return to / "pets"


# ── formats ─────────────────────────────────────────────────────────────────────────────────────


def turned(form: str, **how):
    """Every picture stored as a camera does that was held otherwise, with a tag that says so."""

    def encode(image, number):
        exif = Image.Exif()
        exif[0x0112] = orientation = 1 + number % 8
        stored = image.transpose(TURNS[orientation]) if orientation > 1 else image
        return saved(stored, form, exif=exif, **how)

    return encode


for _form, _ending, _how in (
    ("JPEG", ".JPG", {}), ("PNG", ".png", {}), ("WEBP", ".webp", {"lossless": True}),
    ("TIFF", ".tif", {}),
):  # fmt: skip
    CASES[f"turned_{_form}"] = Case(
        lambda to, f=_form, e=_ending, h=_how: pack(to, files(turned(f, **h), e))
    )


@brought()
def a_phone_that_adds_a_second_picture(to):
    def mpo(image, _):
        return saved(image, "MPO", save_all=True, append_images=[image], quality=95, subsampling=0)

    return pack(to, files(mpo, ".jpg"))


@brought()
def a_damaged_tag(to):
    return pack(to, files(lambda im, _: saved(im, "JPEG", exif=b"Exif\0\0II*\0oh no"), ".jpeg"))


@brought()
def jfif(to):
    return pack(to, files(lambda im, _: saved(im, "JPEG"), ".jfif"))


@brought(refused=r"class 'cat' .*2 \.heic in 'test/cat/'.*\.heic is not read here: save as JPEG")
def heic_alone(to):
    return pack(to, files(lambda *_: b"\0\0\0\x18ftypheic" + bytes(99), ".HEIC"))


@brought(refused=r"IMG_\d\.jpg' in .* \(it is HEIC, which is not read here: save it as JPEG\)")
def heic_in_disguise(to):
    return pack(to, files(lambda *_: b"\0\0\0\x18ftypheic" + bytes(99), ".jpg"))


def ink(image: Image.Image) -> Image.Image:
    """The picture with black where it is white, and all of that transparent."""
    pixels = np.asarray(image)
    clear = (pixels == 235).all(-1)
    pixels = np.where(clear[..., None], 0, pixels)
    return Image.fromarray(np.dstack([pixels, np.where(clear, 0, 255)]).astype(np.uint8), "RGBA")


@brought(note="10 pictures are transparent in places")
def drawings_with_transparency(to):
    return pack(to, files(lambda im, _: saved(ink(im), "PNG")), "zip")


@brought(note="10 pictures are transparent in places")
def transparency_of_every_kind(to):
    def encode(image, number):
        clear = ink(image)
        palette = clear.convert("RGB").quantize(4)
        table = palette.getpalette()[:12]
        at = np.asarray(palette).copy()
        at[np.asarray(clear)[..., 3] == 0] = 9  # a colour of its own, which nobody sees
        palette = Image.fromarray(at, "P")
        palette.putpalette(table + [0] * (768 - len(table)))
        one = number % 3
        if one == 2:
            return saved(clear, "WEBP", lossless=True)
        return saved(palette, ("GIF", "PNG")[one], transparency=9)

    return pack(to, files(encode, ".png"))


@brought(note="10 pictures are transparent in places", grey=True)
def grey_with_transparency(to):
    def encode(image, number):
        grey, clear = np.array(image.convert("L")), (np.asarray(image) == 235).all(-1)
        grey[clear] = 7
        if number % 2:
            return saved(Image.fromarray(grey), "PNG", transparency=7)
        alpha = np.where(clear, 0, 255).astype(np.uint8)
        return saved(Image.merge("LA", [Image.fromarray(a) for a in (grey, alpha)]), "PNG")

    return pack(to, files(encode))


@brought(refused="all 10 pictures .* are the same, seen on white: there is nothing to learn")
def white_ink(to):
    def encode(image, number):
        alpha = np.asarray(image.convert("L"))
        return saved(Image.fromarray(np.dstack([np.full_like(alpha, 255)] * 3 + [alpha])), "PNG")

    return pack(to, files(encode))


@brought()
def for_print_and_for_screen(to):
    def encode(image, number):
        return saved(image.convert("CMYK"), "TIFF") if number % 2 else saved(image, "BMP")

    return pack(to, files(encode, ".tiff"))


@brought(refused="mode I;16 is over 8 bits a channel: save it with 8")
def sixteen_bits(to):
    return pack(to, files(lambda im, _: saved(im.convert("L").convert("I;16"), "PNG")))


# ── names ───────────────────────────────────────────────────────────────────────────────────────


@brought(classes=(NFC, "dog"))
def one_name_in_two_spellings(to):
    found = files(classes=(NFC, "dog"))
    return pack(to, {k.replace(NFC, NFD) if "test" in k else k: v for k, v in found.items()}, "zip")


for _name, _page, _note in (
    ("named_in_dos", "cp437", "is a guess"),
    ("named_in_latin", "latin-1", "is a guess"),
    ("named_in_unicode_unsaid", "utf-8", ""),
):
    CASES[_name] = Case(
        lambda to, p=_page: zipped(to, files(classes=("Mäuse", "dog")), p),
        ("Mäuse", "dog"),
        note=_note,
    )


@brought(classes=("café", "dog"), note="'train/café/' is a guess|'test/café/' is a guess")
def named_in_latin_bytes(to):
    for name, blob in files(classes=("caf\udce9", "dog")).items():
        path = Path(os.fsdecode(os.fsencode(to) + b"/pets/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob)
    return to / "pets"


@brought(classes=("$5 & $$", "_猫 🐱"))
def names_in_any_letters(to):
    return pack(to, files(classes=("$5 & $$", "_猫 🐱")), "tar.xz")


# ── what lies beside, and what is broken ────────────────────────────────────────────────────────


@brought()
def what_systems_leave(to):
    left = ("train/cat/@eaDir/IMG_0.png/SYNO.jpg", "__MACOSX/train/cat/._IMG_0.png", ".DS_Store",
            "train/Thumbs.db", "train/.thumbnails/1.png", "test/desktop.ini")  # fmt: skip
    path = pack(to, files() | dict.fromkeys(left, b"oh"))
    (path / "train" / ".hidden").mkdir()
    for link in ("train/.hidden/link", "train/.link", "test/@eaDir"):
        (path / link).symlink_to(path / "nowhere")
    return path


@brought(note="one file is ignored, 'train/cat/film.mp4'")
def a_long_film(to):
    path = pack(to, files())
    with open(path / "train/cat/film.mp4", "wb") as file:
        file.truncate(1 << 27)
    return path


@brought(refused="IMG_1.png' in .* is no readable picture .*: replace or remove it")
def a_broken_picture(to):
    found = files()
    found["train/dog/IMG_1.png"] = found["train/dog/IMG_1.png"][:-30]
    return pack(to, found)


for _name, _blob, _words in (
    ("an_empty_file", b"", "it is empty"),
    ("a_page_of_the_web", b"<!DOCTYPE html>", "it is HTML or SVG"),
    ("a_pointer", b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS.*"),
    ("words", b"not a picture", "of another kind, or damaged"),
):
    CASES[f"{_name}_for_a_picture"] = Case(
        lambda to, b=_blob: pack(to, files() | {"test/cat/x.jpg": b}, "zip"),
        refused=rf"'test/cat/x\.jpg' in .* \(.*{_words}\): replace or remove it",
    )


@brought(refused="differ in size: .* 16 × 12 .* 12 × 16.*`mpkit pictures .* --out pets` does")
def upright_and_lying(to):
    flat = files(lambda im, n: saved(im if n != 3 else im.transpose(TURNS[6]), "PNG"))
    return pack(to, dict(reversed(flat.items())))


@brought(refused="cannot be read to its end.*it is cut off or damaged. Fetch or pack it again")
def half_a_zip(to):
    path = pack(to, files(), "zip")
    path.write_bytes(path.read_bytes()[:-200])
    return path


if __name__ == "__main__":
    for case_name, case in CASES.items():
        place = Path(sys.argv[1]) / case_name
        place.mkdir(parents=True)
        print(case_name, case.make(place), case.refused or case.classes, sep="\t")
