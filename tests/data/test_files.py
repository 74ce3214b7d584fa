"""Plain files, whole, inside their folder, and one process at a time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mpkit.data import files
from tests.conftest import ROOT

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes and devices of POSIX")


# ── one file ────────────────────────────────────────────────────────────────────────────────────


def test_what_is_written_is_read_and_no_more_than_allowed(tmp_path):
    files.write(tmp_path / "a", b"12345")
    files.write(tmp_path / "a", lambda file: file.write(b"123456"))
    assert files.read(tmp_path / "a", 6) == b"123456"
    with pytest.raises(OSError, match="more than the 5 bytes"):
        files.read(tmp_path / "a", 5)
    with pytest.raises(IsADirectoryError):
        files.read(tmp_path, 5)
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "b", 5)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_what_must_be_new_is_never_written_over(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_, **__: exec("raise OSError('no links here')"))
    (tmp_path / "inner").mkdir()
    for name in ("a", "inner/a"):
        files.write(tmp_path / name, b"first", tmp_path, new=True)
        with pytest.raises(FileExistsError):
            files.write(tmp_path / name, b"second", tmp_path, new=True)
        assert (tmp_path / name).read_bytes() == b"first"
    assert {p.name for p in tmp_path.rglob("*")} == {"a", "inner"}  # and nothing is left over


def test_a_name_as_long_as_the_system_allows_is_read(tmp_path):
    path = tmp_path / ("x" * 200)
    files.write(path, b"1")
    assert files.read(path, 1) == b"1"


@posix
def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    (tmp_path / "mine").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    os.symlink(tmp_path / "mine", tmp_path / "link")
    os.symlink("/dev/zero", tmp_path / "endless")
    os.symlink("nowhere", tmp_path / "dangling")
    for name in ("pipe", "link", "endless", "dangling", "/dev/zero"):
        for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_APPEND):
            with pytest.raises(OSError, match=r"is a link|is no plain file"):
                files.opened(tmp_path / name, flags)
    assert files.read(tmp_path / "link", 9, follow=True) == b"mine"
    with pytest.raises(OSError, match="is no plain file"):
        files.read(tmp_path / "endless", 9, follow=True)
    assert not (tmp_path / "nowhere").exists()


@posix
def test_links_are_replaced_and_never_written_through(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    (outside / "inner").mkdir(parents=True)
    folder.mkdir()
    (outside / "file").write_text("theirs")
    os.symlink(outside / "file", folder / "file")
    os.symlink(outside / "file", folder / "file.part")
    files.write(folder / "file", b"new")
    assert (folder / "file").read_text() == "new"
    assert not (folder / "file").is_symlink()
    os.symlink(outside / "inner", folder / "poisons")
    os.symlink(outside, folder / "deep")
    for name in ("poisons/1.png", "deep/inner/1.png"):
        with pytest.raises(OSError, match="is no folder of its own, or a link"):
            files.write(folder / name, b"x", folder)
    files.write(folder / "poisons" / "1.png", b"x")  # whoever names the folder means it
    assert (outside / "inner" / "1.png").exists()
    assert (outside / "file").read_text() == "theirs"


@posix
def test_links_are_refused_where_files_open_by_name_only(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BY_FOLDER", False)
    (tmp_path / "outside").mkdir()
    (tmp_path / "folder" / "plain").mkdir(parents=True)
    os.symlink(tmp_path / "outside", tmp_path / "folder" / "poisons")
    with pytest.raises(OSError, match="is a link"):
        files.write(tmp_path / "folder" / "poisons" / "1.png", b"x", tmp_path / "folder")
    files.write(tmp_path / "folder" / "plain" / "1.png", b"x", tmp_path / "folder")
    assert not list((tmp_path / "outside").iterdir())
    assert [p.name for p in (tmp_path / "folder" / "plain").iterdir()] == ["1.png"]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def fail(file):
        file.write(b"half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        files.write(tmp_path / "a", fail)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write(tmp_path / "folder", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_kills_have_left_is_cleared_and_nothing_else(tmp_path):
    left = tmp_path / f"state.safetensors.{'0a' * 16}.part"
    mine = tmp_path / "mine.part"
    for path in (left, mine):
        path.touch()
    files.clear_parts(tmp_path)
    files.clear_parts(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == [mine]


# ── one process at a time ───────────────────────────────────────────────────────────────────────


def python(code: str, *arguments: object, **how) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, **how)


# The file alone: torch takes seconds to load.
ALONE = f"""
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("files", {str(ROOT / "mpkit/data/files.py")!r})
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
path = pathlib.Path(sys.argv[1])
"""


def test_a_lock_is_one_holders_and_leaves_nothing(tmp_path):
    path = tmp_path / ".lock"
    busy = pytest.raises(files.Busy, match="the run is in use")
    with files.locked(path, "the run"), busy, files.locked(path, "the run"):
        pass
    assert not list(tmp_path.iterdir())
    with files.locked(path, "the run"):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path):
    path = tmp_path / ".lock"
    hold = "with files.locked(path, 'x'):\n    print('held', flush=True)\n    sys.stdin.read()"
    with python(ALONE + hold, path, stdin=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(files.Busy), files.locked(path, "x"):
            pass
        began = time.monotonic()
        with pytest.raises(files.Busy), files.locked(path, "x", 0.05):
            pass
        assert time.monotonic() - began >= 0.05
        holder.kill()
        holder.wait()
    assert path.exists()
    with files.locked(path, "x"):
        pass


def test_a_lock_is_never_held_twice(tmp_path):
    path, inside, most = tmp_path / ".lock", [], []

    def one(_):
        with files.locked(path, "x", 60):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(400)))
    assert (len(most), max(most)) == (400, 1)


@posix
def test_a_lock_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "mine").write_text("mine")
    os.symlink(tmp_path / "mine", tmp_path / ".lock")
    with pytest.raises(OSError, match="is a link"), files.locked(tmp_path / ".lock", "x"):
        pass


@posix
def test_a_file_system_without_locks_has_none(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(files.NO_LOCKS[0], "no locks")

    monkeypatch.setattr(files.fcntl, "flock", none)
    with files.locked(tmp_path / ".lock", "x"):
        pass


# ── a small file of what is known ───────────────────────────────────────────────────────────────


def test_eight_writers_lose_nothing(tmp_path):
    path = tmp_path / "known.json"
    write = "for i in range(40): files.change_json(path, {f'{sys.argv[2]} {i}': i})"
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(python(ALONE + write, path, n)) for n in range(8)]
        assert [w.wait() for w in writers] == [0] * 8
    assert files.known_json(path) == {f"{n} {i}": i for n in range(8) for i in range(40)}
    assert [p.name for p in tmp_path.iterdir()] == ["known.json"]


@posix
def test_what_is_known_survives_damage_and_a_link_of_the_users(tmp_path):
    path, place = tmp_path / "known.json", tmp_path / "place"
    place.mkdir()
    os.symlink(place / "known.json", path)
    files.change_json(path, {"a": 1})
    assert json.loads((place / "known.json").read_text()) == {"a": 1}
    for content in (b"{", b"[1]", b"[" * 100_000, b"\xff", b"1" * 5000):
        path.write_bytes(content)
        assert files.known_json(path) == {}
    assert files.known_json(Path("/dev/zero")) == {}
