"""Folders and archives of pictures, mutated at random or made to do harm, and loaded.

    python tests/fuzz/archives.py [how many] [--seed 0] [--first 0]

Each number is a mutation of its own seed: a failure is repeated by --first NUMBER and a count of 1.
An archive is either refused by DataError, or every picture and label of it is what was packed; in
5 s, and 500 MB, with nothing written outside the cache.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from watching import arguments, damaged, peak, watched

from mpkit.data import DataError, load_dataset

KINDS = ("zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2")
Files = dict[str, bytes]


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make_files() -> Files:
    draw, files = np.random.default_rng(0), {}
    for split, n in (("train", 3), ("test", 2)):
        for kind in ("ant", "bee", "cat"):
            for i in range(n):
                pixels = draw.integers(0, 256, (12, 12, 3), np.uint8)
                files[f"{split}/{kind}/{i}.png"] = encoded(pixels)
    return files


def packed(path: Path, files: Files, method: int = zipfile.ZIP_DEFLATED) -> None:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, blob in files.items():
                archive.writestr(name, blob)
        return
    with tarfile.open(path, f"w:{path.suffix[1:]}".replace("tgz", "gz").replace("w:tar", "w")) as a:
        for name, blob in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(blob)
            a.addfile(info, io.BytesIO(blob))


def zipped(path: Path, about: zipfile.ZipInfo | str, blob: bytes) -> None:
    """One more member, in a zip."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(about, blob)


# ── mutations: (draw, the archive's path, its files) → whether it must be refused ────────────────


def bytes_changed(draw: random.Random, path: Path, files: Files) -> bool:
    packed(path, files)
    path.write_bytes(damaged(draw, path.read_bytes()))
    return False


def cut(draw: random.Random, path: Path, files: Files) -> bool:
    packed(path, files)
    blob = path.read_bytes()
    path.write_bytes(blob[: draw.randrange(len(blob))])
    return False


def picture_changed(draw: random.Random, path: Path, files: Files) -> bool:
    """A damaged picture, packed well."""
    name = draw.choice(sorted(files))
    blob = bytearray(files[name])
    if draw.random() < 0.5:
        blob[draw.randrange(len(blob))] ^= 1 << draw.randrange(8)
    else:
        del blob[draw.randrange(len(blob)) :]
    packed(path, files | {name: bytes(blob)})
    return False


def bad_name(draw: random.Random, path: Path, files: Files) -> bool:
    """A member that leads outside."""
    names = [
        "../out.png",
        "train/ant/../../../out.png",
        "/tmp/out.png",
        "C:\\out.png",
        "C:/out.png",
    ]
    names += ["..\\out.png", "train\\..\\..\\out.png", "//host/out.png", "train/ant/../../../../x"]
    packed(path, files | {draw.choice(names): files["train/ant/0.png"]})
    return True


def odd_name(draw: random.Random, path: Path, files: Files) -> bool:
    """Names that no file should have."""
    names = [
        "train/ant/\x00.png",
        "train/ant/a\nb.png",
        "train/ant/" + "x" * 5000 + ".png",
        "\x1b[2J",
    ]
    names += [
        "/".join(["d"] * 2000) + "/a.png",
        "train/ant/\udcff.png",
        "train/\u202egnp.exe",
        "train",
    ]
    names += [
        "train/ant/0.png/1.png",
        "train//ant//9.txt",
        "./train/ant/0.txt",
        " ",
        "train/ant/ /",
    ]
    try:
        packed(path, files | {draw.choice(names): b"x"})
    except (UnicodeEncodeError, ValueError):
        packed(path, files)
    return False


def no_plain_file(draw: random.Random, path: Path, files: Files) -> bool:
    """A link or a device, among the pictures."""
    packed(path, files)
    aim = draw.choice(("/etc/passwd", "0.png", "../../../out", "/dev/zero"))
    if path.name.endswith(".zip"):
        info = zipfile.ZipInfo("train/ant/9.png")
        info.external_attr = 0o120777 << 16
        zipped(path, info, aim.encode())
        return True
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    plain = path.with_name("plain.tar")
    packed(plain, files)
    with tarfile.open(plain, "a") as archive:
        info = tarfile.TarInfo(draw.choice(("train/ant/9.png", "train/ant/0.png", "train/dog")))
        info.type, info.linkname = draw.choice(kinds), aim
        archive.addfile(info)
    repack(plain, path)
    return True


def repack(plain: Path, path: Path) -> None:
    """The bytes of a tar, packed as the name of `path` says."""
    import bz2
    import gzip
    import lzma

    ways = {".gz": gzip.compress, ".tgz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
    path.write_bytes(ways.get(path.suffix, bytes)(plain.read_bytes()))


def bomb(draw: random.Random, path: Path, files: Files) -> bool:
    """A member that unpacks to much, or says so."""
    name = draw.choice(("train/ant/9.png", "9.bin"))
    size = draw.choice((1 << 27, 1 << 28))
    if path.name.endswith(".zip"):
        packed(path, files)
        zipped(path, name, bytes(size))
        if draw.random() < 0.5:  # and says it has little
            blob = bytearray(path.read_bytes())
            entry = blob.rindex(b"PK\x01\x02")
            blob[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
            path.write_bytes(blob)
        return name.startswith("train")
    plain = path.with_name("plain.tar")
    packed(plain, files | {name: bytes(size)})
    repack(plain, path)
    return name.startswith("train")


def picture_bomb(draw: random.Random, path: Path, files: Files) -> bool:
    """A small file that decodes to a large picture."""
    side = draw.choice((20_000, 60_000, 2**31 - 1))
    head = side.to_bytes(4, "big") * 2 + bytes([8, draw.choice((0, 2)), 0, 0, 0])
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")]
    if draw.random() < 0.5:  # a comment that unpacks to much
        parts.insert(1, (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 27))))
        parts[0] = (b"IHDR", (12).to_bytes(4, "big") * 2 + head[8:])
    blob = b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in parts
    )
    packed(path, files | {"train/ant/9.png": blob})
    return True


def other_format(draw: random.Random, path: Path, files: Files) -> bool:
    """Something else under a picture's name, or under the archive's."""
    import pickle

    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 12\n(out) (w) file\n"
    blob = draw.choice(
        (pickle.dumps({}), script, b"", b"<svg/>", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n")
    )
    if draw.random() < 0.7:
        packed(path, files | {"train/ant/9.png": blob})
    else:
        path.write_bytes(blob)
    return True


def other_kind(draw: random.Random, path: Path, files: Files) -> bool:
    """Packed in another way than the name says."""
    other = path.with_name("other." + draw.choice(KINDS))
    packed(other, files)
    shutil.move(other, path)
    return False


def method(draw: random.Random, path: Path, files: Files) -> bool:
    """A zip's flags and methods are other ones."""
    if not path.name.endswith(".zip"):
        return bytes_changed(draw, path, files)
    packed(path, files, draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)))
    blob = bytearray(path.read_bytes())
    entry = blob.index(b"PK\x01\x02")
    where = draw.choice((8, 9, 10, 11, 16, 20, 24, 28, 30, 32, 38, 42))
    blob[entry + where] = draw.randrange(256)
    path.write_bytes(blob)
    return False


def many(draw: random.Random, path: Path, files: Files) -> bool:
    """More members, and deeper ones, than anybody has."""
    n = draw.choice((2000, 20_000))
    packed(path, files | {f"notes/{i}.txt": b"" for i in range(n)})
    return False


def twice(draw: random.Random, path: Path, files: Files) -> bool:
    """Two members of one name, of which each reader takes another."""
    names, blobs = list(files), list(files.values())
    i, other = draw.randrange(len(names)), draw.randrange(len(names))
    if path.name.endswith(".zip"):
        packed(path, files)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zipped(path, names[i], blobs[other])
    else:
        plain = path.with_name("plain.tar")
        packed(plain, files)
        with tarfile.open(plain, "a") as archive:
            info = tarfile.TarInfo(names[i])
            info.size = len(blobs[other])
            archive.addfile(info, io.BytesIO(blobs[other]))
        repack(plain, path)
    return other != i


MUTATIONS: dict[str, Callable] = {
    f.__name__: f
    for f in (
        bytes_changed, bytes_changed, cut, picture_changed, bad_name, odd_name, no_plain_file, bomb,
        picture_bomb, other_format, other_kind, method, many, twice,
    )
}  # fmt: skip


def loaded(path: Path) -> list:
    splits = load_dataset(path, progress=False)
    return [(part.x.numpy().tobytes(), part.y.tolist(), part.classes) for part in splits]


def fuzz(count: int, seed: int, first: int, parent: Path) -> list[str]:
    """The failures; prints counts."""
    files, counts, failures = make_files(), Counter(), []
    packed(parent / "whole.zip", files)
    expected, place = loaded(parent / "whole.zip"), parent / "mutated"
    for number in range(first, first + count):
        draw = random.Random(f"{seed} {number}")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        path, what = place / f"pets.{draw.choice(KINDS)}", draw.choice(sorted(MUTATIONS))
        must = MUTATIONS[what](draw, path, files)
        before = sorted(os.listdir(parent)), sorted(os.listdir(place))

        def call(path=path, must=must) -> str:
            found = loaded(path)
            return "it must be refused" if must else "" if found == expected else "others are read"

        end, wrong = watched(call, (DataError,))
        if (sorted(os.listdir(parent)), sorted(os.listdir(place))) != before:
            wrong = wrong or "it wrote something"
        counts[what, end] += 1
        if wrong:
            failures.append(f"{number}: {what} of {path.name}, {wrong}")
            print(failures[-1], flush=True)
    for (what, end), n in sorted(counts.items()):
        print(f"{what:<16} {end:<8} {n}")
    print(f"{count} archives, {len(failures)} failures, peak {peak()} MB")
    return failures


def main() -> int:
    options = arguments(__doc__, 500).parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as parent, tempfile.TemporaryDirectory() as cache:
        os.environ["MPKIT_DATA"] = cache
        return bool(fuzz(options.count, options.seed, options.first, Path(parent)))


if __name__ == "__main__":
    sys.exit(main())
