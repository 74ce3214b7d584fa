"""Files out of a folder, a zip or a tar, read as a stream and never written to disk.

An archive may come from anywhere: a member that leads outside, a link, a device, an oversized or
encrypted file is refused by name, and an archive cut short never passes for a smaller one.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
MAX_BYTES = 1 << 26  # one file: 64 MiB, more than any picture or any batch of CIFAR-10 has


class DataError(ValueError):
    """Data that cannot be had or used: the message names the value, what will do, the way out."""


def read_members(path: Path, chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes | None]]:
    """Yield every file and folder in a folder, zip or tar: its name, and its bytes if `chosen`.

    Names are relative to `path`, with "/" between their parts and at the end of a folder's. Bytes
    are None for folders, and for files that `chosen` refuses by their name.

    Raises DataError for an archive that is cut off, damaged or of no known kind, and for a member
    that is absolute, leads outside through "..", is a link, a device or encrypted, or has more
    than MAX_BYTES.
    """
    if not path.is_dir() and not path.name.lower().endswith(ARCHIVES):
        raise DataError(f"{path} is no folder and no archive ending in {', '.join(ARCHIVES)}")
    reader = _folder if path.is_dir() else _zip if path.suffix.lower() == ".zip" else _tar
    try:
        for name, size, kind, read in reader(path):
            name = _checked(path, name, size, kind)
            yield name, read() if kind == "file" and chosen(name) else None
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


def _checked(path: Path, name: str, size: int, kind: str) -> str:
    name = name.replace("\\", "/")
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        raise DataError(f"{path} has a member outside its own folder, {name!r}: do not trust it")
    if kind not in ("file", "folder"):
        raise DataError(f"{path} has a member that is {kind}, {name!r}: pack plain files only")
    if size > MAX_BYTES:
        raise DataError(f"{name!r} in {path} has {size:,} bytes; at most {MAX_BYTES:,} are read")
    return PurePosixPath(name).as_posix() + "/" * (kind == "folder")


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
        yield file.relative_to(path).as_posix(), about.st_size, kind, file.read_bytes


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
            yield info.filename, info.file_size, kind, lambda info=info: archive.read(info)


def _tar(path: Path):
    with tarfile.open(path, "r|*", tarinfo=_StrictTarInfo) as archive:
        for info in archive:
            kind = "file" if info.isreg() else "folder" if info.isdir() else "a link or a device"
            yield info.name, info.size, kind, lambda info=info: archive.extractfile(info).read()


class _StrictTarInfo(tarfile.TarInfo):
    # tarfile takes a header damaged or cut short for a peaceful end; only closing zeros are one.
    @classmethod
    def fromtarfile(cls, tar):
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None
