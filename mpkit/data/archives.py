"""Files out of a folder, a zip or a tar, read as a stream and never written to disk.

An archive may come from anywhere: a member that leads outside, a link, a device, an oversized or
encrypted file is refused by name, and an archive cut short never passes for a smaller one.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
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
from mpkit.data.names import name_in_zip, name_of_file

MAX_MEMBERS = 1 << 20
MAX_WORDS = 1 << 20  # a name or a comment in a tar, which its reader takes whole
MAX_DICTIONARY = 1 << 28  # bytes that unpacking a .xz may take: four times what `xz -9` wants
MAX_NAME = 1 << 10
BLOCK = 1 << 12  # bytes that are unpacked at a time
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
MAX_BYTES = 1 << 26  # one file: 64 MiB, more than any picture or any batch of CIFAR-10 has
# What systems, cameras and network drives put beside pictures; so do hidden files and folders.
JUNK = (
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "@eadir", "#recycle",
    "@recycle", "$recycle.bin", "system volume information", "lost+found", "icon\r",
)  # fmt: skip

WORDY = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip


class DataError(ValueError):
    """Data that cannot be had or used: the message names the value, what will do, the way out."""


def read_members(
    path: Path, chosen: Callable[[str], bool], guessed: list[str] | None = None
) -> Iterator[tuple[str, bytes | None]]:
    """Yield every file and folder in a folder, zip or tar: its name, and its bytes if `chosen`.

    Names are relative to `path`, with "/" between their parts and at the end of a folder's. Bytes
    are None for folders, and for files that `chosen` refuses by their name. What `is_junk` is
    passed over. Names whose code page had to be guessed are put into `guessed` as well.

    Raises DataError for an archive that is cut off, damaged or of no known kind, and for a member
    that is absolute, leads outside through "..", is a link, a device or encrypted; for one that is
    chosen and has more than MAX_BYTES, or stands there twice; or for more than MAX_MEMBERS. No more
    is held in memory than that one file, whatever an archive says of itself.
    """
    seen: set[str] = set()
    try:
        _refuse_other_kinds(path)
        reader = _folder if path.is_dir() else _zip if path.suffix.lower() == ".zip" else _tar
        for count, ((name, guess), size, kind, read) in enumerate(reader(path), 1):
            if count > MAX_MEMBERS:
                raise DataError(f"{path} has more than the {MAX_MEMBERS:,} files that are read")
            name = _checked(path, name)
            if is_junk(name):
                continue
            if kind not in ("file", "folder"):
                raise DataError(
                    f"{path} has a member that is {kind}, {name!r}: pack plain files only"
                )
            name += "/" * (kind == "folder")
            if guess and guessed is not None:
                guessed.append(name)
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
        raise DataError(f"{path} cannot be read: {error}. Allow it, or take that away") from error


def _refuse_other_kinds(path: Path) -> None:
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path} is no folder and no plain file")
    if not path.is_dir() and not path.name.lower().endswith(ARCHIVES):
        raise DataError(f"{path} is no folder and no archive ending in {', '.join(ARCHIVES)}")


def is_junk(name: str) -> bool:
    """Whether a file is hidden, or lies in a hidden folder, or is what systems leave (`JUNK`)."""
    parts = (part for part in name.split("/") if part not in (".", ".."))
    return any(part.startswith(".") or part.lower() in JUNK for part in parts)


def fingerprint(path: Path, chosen: Callable[[str], bool] = lambda name: True) -> str:
    """16 hex digits of what is in an archive, or of a folder's names and its `chosen` files. Where
    it lies, and when it was written, makes no difference. Raises DataError as `read_members`."""
    found = hashlib.sha256(path.suffix.lower().encode() if path.is_file() else b"")
    if path.is_dir():
        for name, blob in sorted(_digests(path, chosen)):
            found.update(f"{name!r} {blob}\n".encode())
        return found.hexdigest()[:16]
    _refuse_other_kinds(path)
    try:
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return found.hexdigest()[:16]


def _digests(path: Path, chosen: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    for name, blob in read_members(path, chosen):
        yield name, "" if blob is None else hashlib.sha256(blob).hexdigest()


def _read(path: Path, name: str, size: int, read: Callable[[], bytes]) -> bytes:
    if size > MAX_BYTES:
        raise DataError(f"{name!r} in {path} has {size:,} bytes; at most {MAX_BYTES:,} are read")
    found = read()
    if len(found) != size:
        what = f"says that {name!r} has {size:,} bytes, and it has others"
        raise DataError(f"{path} {what}: it is damaged. Pack it again")
    return found


def _checked(path: Path, name: str) -> str:
    if len(name) > MAX_NAME:
        raise DataError(f"{path} has a member whose name has {len(name):,} characters: shorten it")
    # What lies in a folder of this machine has the names that it allows, and is in the folder.
    if not path.is_dir() and _leads_out(name := name.replace("\\", "/")):
        raise DataError(f"{path} has a member outside its own folder, {name!r}: do not trust it")
    return PurePosixPath(name).as_posix()


def _leads_out(name: str) -> bool:
    leads = name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/")
    return bool(leads)


# Each reader yields ((name, whether it was guessed), size in bytes, kind, a function that reads the
# bytes).


def _folder(path: Path):
    for top, folders, _ in _walk(path):
        yield _inside(path, Path(top)), 0, "folder", None
        for inner in (Path(top, name) for name in folders):
            if inner.is_symlink():
                yield _inside(path, inner), 0, "a link", None
    for file in sorted(Path(top, name) for top, _, found in _walk(path) for name in found):
        about = file.stat()
        kind = "file" if stat.S_ISREG(about.st_mode) else "a device"
        read = partial(files.read, file, MAX_BYTES, follow=True)
        yield _inside(path, file), about.st_size, kind, read


def _inside(path: Path, inner: Path) -> tuple[str, bool]:
    return name_of_file(inner.relative_to(path).as_posix())


def _walk(path: Path):
    """Not into links to folders, which may turn in circles, and without what is junk."""

    def fail(error):
        raise error

    for top, folders, found in os.walk(path, onerror=fail):
        folders[:] = [name for name in folders if not is_junk(name)]
        yield top, folders, [name for name in found if not is_junk(name)]


def _zip(path: Path):
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = "folder" if info.filename.endswith(("/", "\\")) else "file"
            if stat.S_ISLNK(info.external_attr >> 16):
                kind = "a link"
            elif info.flag_bits & 1:
                kind = "encrypted"
            elif info.compress_type == zipfile.ZIP_BZIP2:  # no limit to what a block unpacks to
                kind = "packed by bzip2"
            name = name_in_zip(info.filename, utf8=bool(info.flag_bits & 0x800))
            yield name, info.file_size, kind, partial(_unzipped, archive, info)


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
    packed = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": _Unxz}
    unpack = next((f for magic, f in packed.items() if start.startswith(magic)), open)
    with (
        unpack(path, "rb") as file,
        tarfile.open(fileobj=file, mode="r|", tarinfo=_StrictTarInfo, encoding="utf-8") as archive,
    ):
        for info in archive:
            archive.members = []  # which it would keep, one for every file
            kind = "file" if info.isreg() else "folder" if info.isdir() else "a link or a device"
            read = lambda info=info: archive.extractfile(info).read()  # noqa: E731
            yield name_of_file(info.name), info.size, kind, read


class _Unxz(io.BufferedIOBase):
    """What is packed in a .xz, as `lzma.open` gives it, but for this: an archive may not say how
    much memory unpacking takes."""

    def __init__(self, path: Path, mode: str):
        self.file = open(path, mode)  # noqa: SIM115 (closed by `close`)
        self.part = self._part()

    def _part(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=MAX_DICTIONARY)

    def read(self, size: int) -> bytes:
        found, fresh = b"", b""
        while len(found) < size:
            if self.part.eof:  # another may follow, after zeros
                fresh = self.part.unused_data.lstrip(b"\0")
                while not fresh and (block := self.file.read(BLOCK)):
                    fresh = block.lstrip(b"\0")
                if not fresh:
                    break
                self.part = self._part()
            elif self.part.needs_input and not (fresh := self.file.read(BLOCK)):
                raise EOFError("it ends in the middle")
            found, fresh = found + self.part.decompress(fresh, size - len(found)), b""
        return found

    def close(self) -> None:
        self.file.close()
        super().close()


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
