"""Run folders in which something else lies than a run's files: nothing hangs or has no end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mpkit.data import DataError
from mpkit.finetuning import load_weights
from mpkit.runs import record
from mpkit.runs.folder import open_run
from mpkit.runs.record import RecordError
from tests.conftest import ROOT

READERS = {
    "settings.json": open_run,
    "records.jsonl": record.replay,
    "victims.jsonl": lambda folder: open_run(folder).victims(),
    "state.safetensors": record.load_state,
    "poisons.safetensors": record.load_poisons,
}


def endless(path: Path) -> None:
    os.symlink("/dev/zero", path)


def outside(path: Path) -> None:
    shutil.move(path, path.parent.parent / "outside") if path.exists() else None
    os.symlink(path.parent.parent / "outside", path)


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 36)


def deep(path: Path) -> None:
    path.write_bytes(b'{"a":' * 200_000 + b"\n{}\n")


def folder_there(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
@pytest.mark.parametrize("what", [os.mkfifo, endless, outside, huge, deep, folder_there])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_plain_file_of_a_sane_size_is_refused(name, what, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(ROOT / "data/recorded/cifar10-three-classes", folder)
    assert len(record.replay(folder)) == 20
    assert len(open_run(folder).victims()) == 12
    if what is not outside:
        (folder / name).unlink(missing_ok=True)
    what(folder / name)
    with pytest.raises(RecordError, match=name.replace(".", r"\.")):
        READERS[name](folder)


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")
def test_weights_are_a_plain_file_too(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    huge(tmp_path / "huge.safetensors")
    for path in (tmp_path / "w.safetensors", tmp_path / "huge.safetensors", "/dev/zero"):
        with pytest.raises(DataError, match="holds no weights"):
            load_weights(str(path))
