"""Files out of a folder, a zip or a tar, read as a stream and never written to disk.

An archive may come from anywhere: a member that leads outside, a link, a device, an oversized or
encrypted file is refused by name, and an archive cut short never passes for a smaller one.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from mpkit.data import files

MAX_MEMBERS = 1 << 20
MAX_WORDS = 1 << 20  # a name or a comment in a tar, which its reader takes whole
MAX_NAME = 1 << 10
BLOCK = 1 << 12  # bytes that are unpacked at a time
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
MAX_BYTES = 1 << 26  # one file: 64 MiB, more than any picture or any batch of CIFAR-10 has


WORDY = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class DataError(ValueError):
    """Data that cannot be had or used: the message names the value, what will do, the way out."""


def read_members(path: Path, chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    """Yield every file and folder in a folder, zip or tar: its name, and its bytes if `chosen`.

    Names are relative to `path`, with "/" between their parts and at the end of a folder's. Bytes
    are None for folders, and for files that `chosen` refuses by their name.

    Raises DataError for an archive that is cut off, damaged or of no known kind, and for a member
    that is absolute, leads outside through "..", is a link, a device or encrypted, or has more
    than MAX_BYTES, or stands there twice; or for more than MAX_MEMBERS. No more is held in memory
    than that one file, whatever an archive says of itself.
    """
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path} is no folder and no plain file")
    if not path.is_dir() and not path.name.lower().endswith(ARCHIVES):
        raise DataError(f"{path} is no folder and no archive ending in {', '.join(ARCHIVES)}")
    seen, reader = (
        set(),
        _folder if path.is_dir() else _zip if path.suffix.lower() == ".zip" else _tar,
    )
    try:
        for count, (name, size, kind, read) in enumerate(reader(path), 1):
            if count > MAX_MEMBERS:
                raise DataError(f"{path} has more than the {MAX_MEMBERS:,} files that are read")
            name = _checked(path, name, size, kind)
            taken = kind == "file" and chosen(name)
            if taken and name in seen:
                raise DataError(f"{path} has {name!r} twice: pack it again, with one of them")
            seen.update([name] * taken)
            yield name, _read(path, name, size, read) if taken else None
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise DataError(
            f"{path} cannot be read to its end ({error}): it is cut off or damaged. "
            "Fetch or pack it again"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def fingerprint(path: Path) -> str:
    """16 hex digits that change with the name, size or time of an archive or a folder's files.

    Raises DataError where one of them cannot be looked at.
    """
    seen = [str(path.resolve())]
    try:
        for file in _files(path) if path.is_dir() else [path]:
            about = file.stat()
            name = file.relative_to(path).as_posix()
            seen.append(f"{name} {about.st_size} {about.st_mtime_ns}")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return hashlib.sha256("\n".join(seen).encode(errors="surrogateescape")).hexdigest()[:16]


def _read(path: Path, name: str, size: int, read: Callable[[], bytes]) -> bytes:
    found = read()
    if len(found) != size:
        what = f"says that {name!r} has {size:,} bytes, and it has others"
        raise DataError(f"{path} {what}: it is damaged. Pack it again")
    return found


def _checked(path: Path, name: str, size: int, kind: str) -> str:
    if len(name) > MAX_NAME:
        raise DataError(f"{path} has a member whose name has {len(name):,} characters: shorten it")
    # What lies in a folder of this machine has the names that it allows, and is in the folder.
    if not path.is_dir() and _leads_out(name := name.replace("\\", "/")):
        raise DataError(f"{path} has a member outside its own folder, {name!r}: do not trust it")
    if kind not in ("file", "folder"):
        raise DataError(f"{path} has a member that is {kind}, {name!r}: pack plain files only")
    if size > MAX_BYTES:
        raise DataError(f"{name!r} in {path} has {size:,} bytes; at most {MAX_BYTES:,} are read")
    return PurePosixPath(name).as_posix() + "/" * (kind == "folder")


def _leads_out(name: str) -> bool:
    leads = name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/")
    return bool(leads)


# Each reader yields (name, size in bytes, kind, a function that reads the bytes).


def _folder(path: Path):
    for top, folders, _ in _walk(path):
        yield Path(top).relative_to(path).as_posix(), 0, "folder", None
        for inner in (Path(top, name) for name in folders):
            if inner.is_symlink():
                yield inner.relative_to(path).as_posix(), 0, "a link", None
    for file in _files(path):
        about = file.stat()
        kind = "file" if stat.S_ISREG(about.st_mode) else "a device"
        read = partial(files.read, file, MAX_BYTES, follow=True)
        yield file.relative_to(path).as_posix(), about.st_size, kind, read


def _files(path: Path) -> list[Path]:
    return sorted(Path(top, file) for top, _, files in _walk(path) for file in files)


def _walk(path: Path):
    def fail(error):
        raise error

    return os.walk(path, onerror=fail)  # not into links to folders: they may turn in circles


def _zip(path: Path):
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = "folder" if info.is_dir() else "file"
            if stat.S_ISLNK(info.external_attr >> 16):
                kind = "a link"
            elif info.flag_bits & 1:
                kind = "encrypted"
            elif info.compress_type == zipfile.ZIP_BZIP2:  # no limit to what a block unpacks to
                kind = "packed by bzip2"
            yield info.filename, info.file_size, kind, partial(_unzipped, archive, info)


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """In blocks, as zipfile unpacks all that there is before it looks at the size."""
    parts, left = [], info.file_size
    with archive.open(info) as file:
        while left >= 0 and (part := file.read(BLOCK)):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


def _tar(path: Path):
    with open(path, "rb") as file:
        start = file.read(6)
    # Unpacked here, as tarfile unpacks whole blocks, however much is in them.
    unpack = next((f for magic, f in PACKED.items() if start.startswith(magic)), open)
    with (
        unpack(path, "rb") as file,
        tarfile.open(fileobj=file, mode="r|", tarinfo=_StrictTarInfo) as archive,
    ):
        for info in archive:
            archive.members = []  # which it would keep, one for every file
            kind = "file" if info.isreg() else "folder" if info.isdir() else "a link or a device"
            yield info.name, info.size, kind, lambda info=info: archive.extractfile(info).read()


class _StrictTarInfo(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, *given):
        info = super().frombuf(*given)
        if info.type in WORDY and info.size > MAX_WORDS:
            raise tarfile.ReadError(f"a name or comment of {info.size:,} bytes")
        return info

    # tarfile takes a header damaged or cut short for a peaceful end; only closing zeros are one.
    @classmethod
    def fromtarfile(cls, tar):
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
