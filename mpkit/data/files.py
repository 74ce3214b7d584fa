"""Files as mpkit reads and writes them: plain ones of a sane size, whole or not at all, and by one
process at a time.

Folders come from elsewhere as well: what lies in one may be a link to something of the user's, a
pipe that nobody writes to, or endless. Everything here raises OSError with a message that names it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
ALWAYS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
BY_FOLDER = bool(NO_FOLLOW) and os.open in os.supports_dir_fd
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that knows no locks."""
LOCKED_BYTE = 1 << 30
"""Windows locks bytes and not files: one where no file has any."""
MAX_KNOWN = 1 << 24


class Busy(OSError):
    """Somebody else holds the lock."""


# ── one file ────────────────────────────────────────────────────────────────────────────────────


def opened(path: Path, flags: int, follow: bool = False) -> int:
    """A descriptor of a plain file; links are refused unless they are to be followed."""
    with contextlib.suppress(FileNotFoundError):  # may be made by `flags`
        _refuse(path, (os.stat if follow else os.lstat)(path).st_mode)
    try:
        file = os.open(path, flags | ALWAYS | (0 if follow else NO_FOLLOW), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(f"{path} is a link, which is not followed here") from error
        raise
    try:
        _refuse(path, os.fstat(file).st_mode)
    except OSError:
        os.close(file)
        raise
    return file


def _refuse(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise OSError(f"{path} is a link, which is not followed here")
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder, where a file should be")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is no plain file")


def read(path: Path, most: int, follow: bool = False) -> bytes:
    """A plain file of at most `most` bytes."""
    with open(opened(path, os.O_RDONLY, follow), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = file.read(most + 1) if size <= most else b""
    if max(size, len(found)) > most:
        raise OSError(f"{path} has more than the {most:,} bytes that are read")
    return found


def write(
    path: Path,
    content: bytes | Callable[[BinaryIO], object],
    root: Path | None = None,
    sync: bool = True,
    new: bool = False,
) -> None:
    """Write beside `path` and rename: a kill leaves the old file or the new, whole.

    `content`, or what it writes into the file that it is given. A link at `path` is replaced and
    not followed, nor is one on the way from `root` (the folder itself, where none is named) to it.
    `sync` waits for the disk. Raises FileExistsError where it must be `new` and there is one: of
    two that write at once, from whatever machine, one is refused.
    """
    name = f"{path.name}.{uuid.uuid4().hex}.part"  # which nobody can have put a link at
    with _folder(path, root) as folder:
        by = {} if folder is None else {"dir_fd": folder}
        part, whole = (name, path.name) if by else (path.with_name(name), path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | ALWAYS
        descriptor = os.open(part, flags, 0o666, **by)
        try:
            with open(descriptor, "wb") as file:
                content(file) if callable(content) else file.write(content)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            (_claim if new else os.replace)(
                part, whole, **{f"{end}_dir_fd": folder for end in ("src", "dst") if by}
            )
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, **by)
            raise


def _claim(part: Path | str, whole: Path | str, **by: int) -> None:
    """Rename, and never over another file."""
    try:
        os.link(part, whole, **by)
    except FileExistsError:
        raise
    except OSError:  # a file system without second names
        os.close(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=by.get("dst_dir_fd")))
        os.replace(part, whole, **by)
    else:
        os.unlink(part, dir_fd=by.get("src_dir_fd"))


@contextlib.contextmanager
def _folder(path: Path, root: Path | None) -> Iterator[int | None]:
    """A descriptor of the folder that `path` is in; None where names will do: in `root` itself, and
    where the system opens files by nothing else."""
    root = root or path.parent
    inner = path.parent.relative_to(root).parts
    if not inner or not BY_FOLDER:
        for there in (root.joinpath(*inner[: i + 1]) for i in range(len(inner))):
            if there.is_symlink() or getattr(os.path, "isjunction", os.path.islink)(there):
                raise OSError(f"{there} is a link, which is not followed here")
        yield None
        return
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in inner:
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | NO_FOLLOW, dir_fd=folder)
            except OSError as error:
                raise OSError(f"{path.parent} is no folder of its own, or a link") from error
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def clear_parts(folder: Path) -> None:
    """Remove what kills have left of files that were being written. Only for who has the lock."""
    for part in folder.glob(f"*.{'[0-9a-f]' * 32}.part"):
        part.unlink(missing_ok=True)


# ── one process at a time ───────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def locked(path: Path, what: str, seconds: float = 0) -> Iterator[None]:
    """Hold the lock at `path`, a file that is there only meanwhile; wait at most so long for it.

    The system frees it when the process ends, however it does. Raises Busy, which says that `what`
    is in use. Where the file system knows no locks, all get it.
    """
    end = time.monotonic() + seconds
    while (file := _held(path)) is None:
        if time.monotonic() >= end:
            raise Busy(f"{what} is in use by another mpkit: wait until that has ended")
        time.sleep(0.005)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if fcntl:  # while it is held, so that nobody else's is removed
                os.unlink(path)
        os.close(file)
        with contextlib.suppress(OSError):
            if not fcntl:  # Windows removes no file that is open, be it another's
                os.unlink(path)


def _held(path: Path) -> int | None:
    """A descriptor that holds the lock, None where somebody else has it."""
    while True:
        try:
            file = opened(path, os.O_RDWR | os.O_CREAT)
        except PermissionError:
            if fcntl or not path.exists():
                raise
            return None  # Windows: being removed
        try:
            _lock(file)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.lstat(path)):
                    return file
        except OSError as error:
            if error.errno in NO_LOCKS:
                return file
            os.close(file)
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return None
            raise
        os.close(file)  # whoever held it has removed the file meanwhile: there may be another


def _lock(file: int) -> None:
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        os.lseek(file, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)


# ── a small file of what is known ───────────────────────────────────────────────────────────────


def known_json(path: Path) -> dict:
    """A user's own JSON object; empty where it is missing, damaged or no such file."""
    try:
        found = json.loads(read(path, MAX_KNOWN, follow=True))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def change_json(path: Path, values: dict) -> None:
    """Put values into a `known_json`; what other processes put there meanwhile is kept."""
    path = path.resolve()  # a user's own link to another place stays one
    with locked(path.with_name(f"{path.name}.lock"), str(path), 10):
        text = json.dumps(known_json(path) | values, indent=1, sort_keys=True, allow_nan=False)
        write(path, text.encode())
