"""Folders and archives, and everything hostile that can be in them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
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
    for i, name in enumerate(("train\\..\\..\\evil.png", "..\\evil.png", ".hidden/../../x")):
        path = pack(tmp_path, tree() | {name: encoded(0)}, "tar", name=f"pets{i}")
        with pytest.raises(DataError, match="outside its own folder"):
            load_dataset(path)


def test_folders_of_a_zip_made_on_windows_are_no_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("train\\", "train\\cat\\", "train\\cat\\1.png"):
            info = zipfile.ZipInfo()
            info.filename = name
            archive.writestr(info, b"")
    members = read_members(tmp_path / "pets.zip", lambda name: False)
    assert [name for name, _ in members] == ["train/", "train/cat/", "train/cat/1.png"]


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
def test_a_fingerprint_is_of_the_content_and_of_nothing_else(kind, tmp_path):
    path = pack(tmp_path, tree(1, 1), kind)
    first = fingerprint(path)
    touched = path / "train/ant/0.png" if kind == "folder" else path
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 1))
    path = path.rename(tmp_path / f"other{path.suffix}")
    assert fingerprint(path) == first
    (path / "train/ant/.hidden").touch() if kind == "folder" else None
    assert fingerprint(path) == first
    touched = path / "train/ant/0.png" if kind == "folder" else path
    before = touched.stat()
    blob = bytearray(touched.read_bytes())
    blob[-20] ^= 1
    touched.write_bytes(blob)  # as many bytes, at the same time
    os.utime(touched, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fingerprint(path) != first
    with pytest.raises(DataError, match="is no folder and no plain file"):
        fingerprint(tmp_path / "gone")


def test_a_fingerprint_changes_with_names_and_empty_folders(tmp_path):
    path = pack(tmp_path, tree(1, 1))
    seen = [fingerprint(path)]
    (path / "train/dog").mkdir()
    seen.append(fingerprint(path))
    (path / "train/ant").rename(path / "train/t")
    (path / "train/bee").rename(path / "train/ant")
    (path / "train/t").rename(path / "train/bee")
    seen.append(fingerprint(path))
    assert len(set(seen)) == 3
    assert fingerprint(path, lambda name: False) != seen[-1]


def test_what_is_not_asked_for_may_be_as_large_as_it_likes(tmp_path, monkeypatch):
    path = pack(tmp_path, tree() | {"train/ant/film.mp4": bytes(2000)})
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with pytest.warns(UserWarning, match=r"one file is ignored, .*film\.mp4"):
        load_dataset(path)


# --- what is held in memory -----------------------------------------------------------------------


def peak(path) -> int:
    """Bytes that reading an archive holds at most, as far as Python allocates them."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            list(read_members(path, lambda name: True))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("how", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("said", [10, 1 << 16])
def test_a_zip_whose_header_lies_is_refused_without_being_unpacked(how, said, tmp_path):
    path, size = tmp_path / "lies.zip", 1 << 27
    with zipfile.ZipFile(path, "w", how) as archive, archive.open("a.png", "w") as file:
        for _ in range(128):
            file.write(bytes(1 << 20))
    blob = path.read_bytes()
    path.write_bytes(blob.replace(size.to_bytes(4, "little"), said.to_bytes(4, "little")))
    assert peak(path) < 1 << 27


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_what_a_tar_unpacks_to_is_never_held(kind, tmp_path):
    path, info = tmp_path / f"zeros.tar.{kind}", tar_info("a.png", size=1 << 27)
    with {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].open(path, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(128):
            file.write(bytes(1 << 20))
    assert peak(path) < 1 << 27


def test_a_zip_that_says_more_than_it_has_is_refused(tmp_path):
    path = pack(tmp_path, {"train/a/0.png": b"x" * 4321}, "zip")
    size, more = ((n).to_bytes(4, "little") for n in (4321, 43210))
    path.write_bytes(path.read_bytes().replace(size, more))
    with pytest.raises(DataError, match=r"."):
        list(read_members(path, lambda name: True))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_comment_without_end_in_a_tar_is_refused(kind, tmp_path):
    path, size = tmp_path / "wordy.tar.gz", 1 << 28
    info = tar_info("comment", kind=kind)
    info.size = size
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(128):
            file.write(bytes(1 << 20))
    assert peak(path) < 1 << 27


def test_files_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    for kind in KINDS:
        path = pack(tmp_path, {f"{i}.txt": b"" for i in range(11)}, kind)
        with pytest.raises(DataError, match="more than the 10 files"):
            list(read_members(path, lambda name: False))


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    with pytest.raises(DataError, match="no plain file"):
        load_dataset(tmp_path / "x.zip")


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
def test_names_in_a_folder_are_what_they_are(tmp_path):
    names = ("back\\slash", "C:drive", "up\\..\\x")
    files = tree(classes=names)
    splits = load_dataset(pack(tmp_path, files, "folder"))
    assert splits.train.classes == tuple(sorted(names))
    top = pack(tmp_path, {f"C:top/{name}": blob for name, blob in files.items()}, name="other")
    assert load_dataset(top).train.classes == splits.train.classes


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_name_that_stands_there_twice_is_refused(kind, tmp_path):
    path = pack(tmp_path, tree(), kind)
    if kind == "zip":
        with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
            archive.writestr("train/ant/0.png", encoded((9, 9, 9)))
    else:
        with tarfile.open(path) as archive:
            held = {m.name: archive.extractfile(m).read() for m in archive}
        blob = encoded((9, 9, 9))
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            for name, old in [*held.items(), ("train/ant/0.png", blob)]:
                archive.addfile(tar_info(name, len(old)), io.BytesIO(old))
    with pytest.raises(DataError, match=r"has 'train/ant/0\.png' twice: pack it again"):
        load_dataset(path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_name_without_end_is_refused_in_a_short_sentence(kind, tmp_path):
    path = pack(tmp_path, tree() | {"train/ant/" + "x" * 5000 + ".png": b""}, kind)
    with pytest.raises(DataError, match=r"a member whose name has 5,014 characters") as refused:
        load_dataset(path)
    assert len(str(refused.value)) < 300


def test_a_xz_may_not_say_how_much_memory_it_takes(tmp_path):
    path = pack(tmp_path, tree(), "tar.xz")
    tar = lzma.decompress(path.read_bytes())
    for size in (1 << 26, 1 << 30):  # what `xz -9` takes, and what nobody needs
        how = [{"id": lzma.FILTER_LZMA2, "dict_size": size}]
        path.write_bytes(lzma.compress(tar, filters=how))
        if size == 1 << 26:
            check_invariants(load_dataset(path))
    with pytest.raises(DataError, match=r"cannot be read to its end \(Memory usage limit"):
        load_dataset(path)


def test_a_xz_in_several_parts_is_read_to_its_end(tmp_path):
    path = pack(tmp_path, tree(), "tar.xz")
    expected, tar = load_dataset(path), lzma.decompress(path.read_bytes())
    parts = [
        lzma.compress(tar[i : i + 7000]) + bytes(4 * (i // 7000)) for i in range(0, len(tar), 7000)
    ]
    path.write_bytes(b"".join(parts))
    assert len(parts) > 2
    assert same(load_dataset(path), expected)
    path.write_bytes(b"".join(parts[:2])[:-30])
    with pytest.raises(DataError, match="cut off or damaged"):
        load_dataset(path)
