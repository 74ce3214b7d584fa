"""Pictures, folders and archives that are made here."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.data import Dataset, load_dataset, pictures

KINDS = ["folder", "zip", "tar", "tar.gz", "tgz", "tar.xz", "tar.bz2"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Every test caches in a folder of its own."""
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def digits_cache(tmp_path_factory):
    """scikit-learn is imported once, not in every test of the digits."""
    folder = tmp_path_factory.mktemp("digits")
    load_dataset("digits", cache=folder)
    return folder


def encoded(value, mode="RGB", size=(4, 3), form="PNG") -> bytes:
    """A picture (width, height) filled with one value."""
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, form)
    return file.getvalue()


def tree(train=3, test=2, classes=("ant", "bee", "cat"), **how) -> dict[str, bytes]:
    """One colour a picture: (class, 0 or 1 for test, number)."""
    return {
        f"{split}/{name}/{i}.png": encoded((c, s, i), **how)
        for s, (split, n) in enumerate((("train", train), ("test", test)))
        for c, name in enumerate(classes)
        for i in range(n)
    }


def pack(folder: Path, files: dict[str, bytes], kind="folder", name="pets") -> Path:
    """The files as a folder or an archive, in an order that is not sorted."""
    items = sorted(files.items(), reverse=True)
    path = folder / (name if kind == "folder" else f"{name}.{kind}")
    if kind == "folder":
        for file, blob in items:
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_bytes(blob)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, blob in items:
                archive.writestr(file, blob)
    else:
        mode = {"tar": "w", "tgz": "w:gz"}.get(kind, f"w:{kind.removeprefix('tar.')}")
        with tarfile.open(path, mode) as archive:
            for file, blob in items:
                archive.addfile(tar_info(file, len(blob)), io.BytesIO(blob))
    return path


def tar_info(name, size=0, kind=tarfile.REGTYPE, link="") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def colours(dataset: Dataset) -> list[tuple[int, ...]]:
    return [tuple(row) for row in (dataset.x[:, :, 0, 0] * 255).round().int().tolist()]


def same(one, other) -> bool:
    return all(
        torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.classes == b.classes
        for a, b in zip(one, other, strict=True)
    )


def check_invariants(splits):
    for part in splits:
        assert part.x.dtype == torch.float32
        assert part.y.dtype == torch.int64
        assert torch.equal(part.x, (part.x * 255).round() / 255)
        assert 0 <= part.x.min() <= part.x.max() <= 1
        assert set(part.y.tolist()) == set(range(len(part.classes)))
    assert splits.train.classes == splits.test.classes


@pytest.fixture
def decodings(monkeypatch):
    """The names of the pictures decoded so far."""
    names, decode = [], pictures._decode

    def counted(name, blob):
        names.append(name)
        return decode(name, blob)

    monkeypatch.setattr(pictures, "_decode", counted)
    return names


def pixels(part) -> np.ndarray:
    return (part.x * 255).round().byte().numpy()


def without(prefix: str) -> dict[str, bytes]:
    return {name: blob for name, blob in tree().items() if not name.startswith(prefix)}
