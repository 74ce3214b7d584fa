"""Folders and archives, and everything hostile that can be in them."""

from __future__ import annotations

import os
import tarfile
import zipfile

import pytest

from mpkit.data import DataError, archives, load_dataset
from mpkit.data.archives import fingerprint, read_members
from tests.data.conftest import (
    KINDS,
    check_invariants,
    colours,
    encoded,
    pack,
    same,
    tar_info,
    tree,
    without,
)

# --- folders and archives of pictures -------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "my-pets/", "./"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_packing_gives_every_picture(kind, top, tmp_path):
    files = {top + name: blob for name, blob in tree().items()}
    splits = load_dataset(pack(tmp_path, files, kind), progress=False)
    check_invariants(splits)
    assert splits.train.classes == ("ant", "bee", "cat")
    assert splits.train.shape == (3, 3, 4)
    for s, (part, n) in enumerate(zip(splits, (3, 2), strict=True)):
        assert sorted(colours(part)) == [(c, s, i) for c in range(3) for i in range(n)]
        assert [colour[0] for colour in colours(part)] == part.y.tolist()
        assert part.name == ("pets" if kind == "folder" else f"pets.{kind}")


# --- what can be wrong with pictures --------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_declares_too_many_bytes_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    path = pack(tmp_path, tree() | {"train/ant/big.png": bytes(1001)}, kind)
    with pytest.raises(DataError, match=r"'train/ant/big\.png' in .* has 1,001 bytes; at most 1,0"):
        load_dataset(path)


@pytest.mark.parametrize(
    "name", ["../evil.png", "train/../../evil.png", "/etc/evil.png", "C:/e.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_member_outside_the_folder_is_refused_by_name(name, kind, tmp_path):
    path = pack(tmp_path, tree() | {name: encoded(0)}, kind)
    with pytest.raises(DataError, match=f"outside its own folder, '{name}'"):
        load_dataset(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_backslash_does_not_hide_the_way_out(tmp_path):
    path = pack(tmp_path, tree() | {"train\\..\\..\\evil.png": encoded(0)}, "tar")
    with pytest.raises(DataError, match="outside its own folder"):
        load_dataset(path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused_by_name(kind, tmp_path):
    path = pack(tmp_path, tree(), "tar")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tar_info("train/ant/x.png", kind=kind, link="/etc/passwd"))
    with pytest.raises(DataError, match=r"a link or a device, 'train/ant/x\.png'"):
        load_dataset(path)


def test_links_and_passwords_in_a_zip_are_refused_by_name(tmp_path):
    path = pack(tmp_path, tree(), "zip")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("train/ant/x.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"a link, 'train/ant/x\.png'"):
        load_dataset(path)
    path = pack(tmp_path, tree(), "zip", name="secret")
    blob = bytearray(path.read_bytes())
    blob[blob.index(b"PK\x01\x02") + 8] |= 1  # the flag of the first entry in the directory
    path.write_bytes(blob)
    with pytest.raises(DataError, match="that is encrypted, 'train/cat"):
        load_dataset(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(tmp_path):
    path = pack(tmp_path, tree())
    os.mkfifo(path / "train/ant/x.png")
    with pytest.raises(DataError, match=r"a device, 'train/ant/x\.png'"):
        load_dataset(path)


@pytest.mark.parametrize("name", ["train", "train/dog"])
def test_a_link_to_a_folder_is_refused_and_not_passed_over(name, tmp_path):
    path = pack(tmp_path, without("train/") if name == "train" else tree())
    (path / name).symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(DataError, match=f"a link, '{name}'"):
        load_dataset(path)


def test_a_dangling_link_in_a_folder_is_an_error(tmp_path):
    path = pack(tmp_path, tree())
    (path / "train/ant/x.png").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"cannot be read: .*train/ant/x\.png"):
        load_dataset(path)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_archive_cut_anywhere_is_an_error_and_never_a_smaller_data_set(kind, tmp_path):
    # The first member stands last in the sorted order, so a short read would still look complete.
    path = pack(tmp_path, tree(train=6), kind)
    whole, blob = load_dataset(path), path.read_bytes()
    cuts = {0, 1, len(blob) // 7, len(blob) // 2, len(blob) - 1, len(blob) * 9 // 10}
    cuts |= set(range(0, len(blob), 512 if kind == "tar" else max(1, len(blob) // 20)))
    refused = 0
    for cut in sorted(cuts):
        path.write_bytes(blob[:cut])
        try:
            splits = load_dataset(path)
        except DataError:
            refused += 1
        else:
            assert same(whole, splits), f"cut to {cut} of {len(blob)} bytes"
    # What may be missing are the trailing zeros of a tar and checksums behind its end.
    assert refused >= (len(cuts) - 25 if kind == "tar" else 0.8 * len(cuts))


def test_a_damaged_header_does_not_end_a_tar(tmp_path):
    path = pack(tmp_path, tree(), "tar")
    blob = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        at = archive.getmembers()[-2].offset
    blob[at : at + 100] = b"\xff" * 100
    path.write_bytes(blob)
    with pytest.raises(DataError, match="cut off or damaged"):
        load_dataset(path)


def test_a_file_of_another_kind_is_an_error(tmp_path):
    path = tmp_path / "pets.rar"
    path.write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"pets\.rar is no folder and no archive ending in \.zip"):
        load_dataset(path)


def test_only_what_is_wanted_is_read_and_everything_is_named(tmp_path):
    path = pack(tmp_path, {"train/a/0.png": b"x", "notes.txt": b"mine"}, "zip")
    found = dict(read_members(path, lambda name: name.endswith(".png")))
    assert found == {"train/a/0.png": b"x", "notes.txt": None}
    folder = pack(tmp_path, {"train/a/0.png": b"x"})
    assert dict(read_members(folder, lambda name: True))["train/a/"] is None


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_fingerprint_changes_with_what_may_have_changed(kind, tmp_path):
    path = pack(tmp_path, tree(1, 1), kind)
    seen = [fingerprint(path)]
    assert fingerprint(path) == seen[0]
    touched = path / "train/ant/0.png" if kind == "folder" else path
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 1))
    seen.append(fingerprint(path))
    with open(touched, "ab") as file:
        file.write(b"more")
    seen.append(fingerprint(path))
    seen.append(fingerprint(path.rename(tmp_path / f"other{path.suffix}")))
    assert len(set(seen)) == 4
    with pytest.raises(DataError, match="cannot be read"):
        fingerprint(tmp_path / "gone")
