"""Pictures out of folders and archives, what will not do, and what is kept of them."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpkit.data import DataError, archives, decoding, load_dataset, pictures
from mpkit.data import datasets as data
from tests.data.conftest import colours, encoded, pack, same, tree, without

# --- folders and archives of pictures -------------------------------------------------------------


def test_channels_rows_and_columns_keep_their_places(tmp_path):
    generator = np.random.default_rng(0)
    files, arrays = tree(1, 1, ("a", "b")), {}
    for name in files:
        arrays[name] = generator.integers(0, 256, (5, 7, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(arrays[name]).save(file, "PNG")
        files[name] = file.getvalue()
    train, _ = load_dataset(pack(tmp_path, files))
    for x, y in zip(train.x, train.y, strict=True):
        expected = arrays[f"train/{train.classes[y]}/0.png"].transpose(2, 0, 1)
        assert ((x * 255).round().numpy() == expected).all()


@pytest.mark.filterwarnings("ignore:.*seen on white")
def test_grey_pictures_keep_one_channel_and_mixed_ones_become_rgb(tmp_path):
    grey = {
        "train/a/0.png": encoded(10, "L"),
        "train/b/0.png": encoded(1, "1"),
        "test/a/0.png": encoded((30, 51), "LA"),  # a fifth of it, on white
        "test/b/0.pgm": encoded(40, "L", form="PPM"),
    }
    train, test = load_dataset(pack(tmp_path, grey))
    assert train.shape == (1, 3, 4)
    assert sorted(colours(train) + colours(test)) == [(10,), (40,), (210,), (255,)]
    palette = Image.new("RGB", (4, 3), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE)
    file = io.BytesIO()
    palette.save(file, "GIF")
    mixed = grey | {
        "test/a/1.gif": file.getvalue(),
        "test/a/2.png": encoded((7, 8, 9, 255), "RGBA"),
        "test/b/3.BMP": encoded((4, 5, 6), form="BMP"),
    }
    train, test = load_dataset(pack(tmp_path, mixed, name="mixed"))
    assert sorted(colours(train)) == [(10,) * 3, (255,) * 3]
    assert sorted(colours(test)) == [(1, 2, 3), (4, 5, 6), (7, 8, 9), (40,) * 3, (210,) * 3]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_hidden_files_pass_in_silence_and_others_with_one_warning(kind, tmp_path):
    hidden = {
        ".DS_Store": b"",
        "__MACOSX/train/ant/._0.png": b"x",
        "train/ant/._0.png": b"x",
        "train/Thumbs.db": b"",
        "train/.cache/0.png": b"x",
        ".git/config": b"",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = load_dataset(pack(tmp_path, tree() | hidden, kind))
    others = {"notes.txt": b"", "train/ant/labels.csv": b"", "val/ant/0.png": b"x", "logo.png": b""}
    with pytest.warns(UserWarning, match=r"4 files are ignored, such as") as warned:
        more = load_dataset(pack(tmp_path, tree() | hidden | others, kind, name="more"))
    assert len(warned) == 1
    assert same(splits, more)


def test_files_deeper_in_a_class_belong_to_it(tmp_path):
    files = tree() | {"train/ant/more/9.png": encoded((0, 0, 9))}
    assert len(load_dataset(pack(tmp_path, files)).train) == 10


# --- what can be wrong with pictures --------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (without("train/"), "has no train/ folder with classes in it: pictures belong in"),
        (without("test/"), "has no test/ folder with classes in it"),
        ({"ant/0.png": encoded(0), "bee/0.png": encoded(0)}, "has no train/ folder"),
        (tree(classes=("ant",)), "has one class, 'ant'; it takes two or more"),
        (without("train/bee/"), "class 'bee' of .* has 0 pictures in train/ and 2 in test/"),
        (without("test/bee/"), "class 'bee' of .* has 3 pictures in train/ and 0 in test/"),
        (
            {f"{top}/{name}": blob for top in "ab" for name, blob in tree().items()},
            "in several places, 'a/', 'b/': keep one",
        ),
        (tree() | {"train/cat/x.png": b"oh"}, "train/cat/x.png.* is no readable picture"),
        (tree() | {"train/cat/x.png": b""}, "train/cat/x.png.* is no readable picture"),
        (tree() | {"train/cat/x.png": encoded(0)[:-30]}, "train/cat/x.png.* is no readable"),
        (tree() | {"train/cat/x.png": encoded(9, "I;16")}, "x.png.* over 8 bits a channel"),
        (tree() | {"train/cat/x.png": encoded(9, form="EPS")}, "x.png.* is no readable picture"),
        (tree() | {"train/cat/x.png": encoded(9, form="PCX")}, "x.png.* is no readable picture"),
        (
            tree() | {"test/ant/x.png": encoded(0, size=(9, 5))},
            "differ in size: .* is 4 × 3 .* is 9 × 5. Resize",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_pictures_that_will_not_do(files, message, kind, tmp_path):
    with pytest.raises(DataError, match=message):
        load_dataset(pack(tmp_path, files, kind))
    assert not list(tmp_path.glob("cache/*"))


def test_both_pictures_of_different_size_are_named(tmp_path):
    files = tree() | {"test/ant/x.png": encoded(0, size=(9, 5))}
    with pytest.raises(DataError, match=r"'test/ant/x\.png'") as caught:
        load_dataset(pack(tmp_path, files))
    assert "'test/ant/0.png'" in str(caught.value)


def test_an_empty_class_folder_is_an_error(tmp_path):
    path = pack(tmp_path, tree())
    (path / "train/dog").mkdir()
    with pytest.raises(DataError, match=r"class 'dog' of .* has 0 pictures in train/ and 0 in"):
        load_dataset(path)


def test_a_picture_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = pack(tmp_path, tree())
    monkeypatch.setattr(decoding, "MAX_PIXELS", 11)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="4 × 3 is over 11 pixels"):
        load_dataset(path)


def test_pillows_own_bomb_alarm_is_our_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match="decompression bomb"):
        load_dataset(pack(tmp_path, tree()))


# --- the cache ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.xz"])
def test_pictures_are_decoded_once(kind, tmp_path, decodings):
    path = pack(tmp_path, tree(), kind)
    first = load_dataset(path, seed=1)
    assert len(decodings) == 15
    assert same(first, load_dataset(path, seed=1))
    assert len(decodings) == 15


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pictures_that_changed_are_decoded_again(kind, tmp_path, decodings):
    path = pack(tmp_path, tree(), kind)
    load_dataset(path)
    changed = tree() | {"train/ant/0.png": encoded((99, 99, 99))}
    pack(tmp_path, changed, kind)
    touched = path / "train/ant/0.png" if kind == "folder" else path
    assert (99, 99, 99) in colours(load_dataset(path).train)
    assert len(decodings) == 30
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 1))  # the same, but later
    load_dataset(path.rename(path.with_name(f"moved{path.suffix}")))  # and elsewhere
    assert len(decodings) == 30


def test_folders_that_changed_places_change_their_labels(tmp_path):
    files = {
        f"{split}/{name}/{i}.ppm": encoded((c, c, i), form="PPM")
        for split in ("train", "test")
        for c, name in enumerate(("ant", "bee"))
        for i in range(2)
    }
    path = pack(tmp_path, files)
    for file in path.rglob("*.ppm"):  # of one size and time, as an archive leaves them
        os.utime(file, ns=(10**18, 10**18))
    before = load_dataset(path).train
    for old, new in (("ant", "t"), ("bee", "ant"), ("t", "bee")):
        (path / "train" / old).rename(path / "train" / new)
    after = load_dataset(path).train
    for part, labels in ((before, [0, 1]), (after, [1, 0])):
        assert {(c[0], int(y)) for c, y in zip(colours(part), part.y, strict=True)} == set(
            zip([0, 1], labels, strict=True)
        )


def test_notes_are_kept_with_what_was_decoded(tmp_path, decodings):
    files = tree() | {"test/ant/9.png": encoded((7, 8, 9, 0), "RGBA")}
    path = pack(tmp_path, files)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"1 pictures are transparent.*ant/9.*on white"):
            assert (255, 255, 255) in colours(load_dataset(path).test)
    assert len(decodings) == 16


def test_pictures_that_are_all_the_same_are_refused(tmp_path):
    files = {name: encoded((9, 9, 9)) for name in tree()}
    with pytest.raises(DataError, match=r"all 15 pictures in .* are the same: there is nothing"):
        load_dataset(pack(tmp_path, files))
    files = {name: encoded((9, 9, 9, 0), "RGBA") for name in tree()}
    with pytest.raises(DataError, match="are the same, seen on white"):
        load_dataset(pack(tmp_path, files, name="clear"))


def test_a_file_takes_its_place_whole_and_in_one_move(tmp_path, own_cache, monkeypatch):
    moves, replace = [], os.replace

    def watched(part, path):
        assert not Path(path).exists()
        whole = Path(part).read_bytes()
        replace(part, path)
        moves.append((Path(path).name, whole == Path(path).read_bytes()))

    monkeypatch.setattr(os, "replace", watched)
    load_dataset(pack(tmp_path, tree()))
    assert sorted(moves) == [(file.name, True) for file in sorted(own_cache.iterdir())]


def test_kept_pixels_are_mapped_and_not_read(tmp_path, own_cache, monkeypatch):
    path = pack(tmp_path, tree())
    load_dataset(path)
    monkeypatch.setattr(data, "read_pictures", lambda *_: pytest.fail("decoded"))
    kept = pictures.remember(own_cache, f"pictures-{archives.fingerprint(path)}", None)
    assert isinstance(kept.pixels, np.memmap)
    assert kept.pixels.dtype == np.uint8
    dataset = load_dataset(path).train
    dataset.x.fill_(0.5)  # a copy: the file stays as it was
    assert colours(load_dataset(path).train) != colours(dataset)


def test_pixels_without_their_description_are_not_trusted(tmp_path, own_cache, decodings):
    path = pack(tmp_path, tree())
    first = load_dataset(path)
    next(own_cache.glob("*.json")).unlink()
    next(own_cache.glob("*.npy")).write_bytes(b"half of it")
    assert same(first, load_dataset(path))
    next(own_cache.glob("*.json")).write_text("{}")
    assert same(first, load_dataset(path))
    next(own_cache.glob("*.npy")).write_bytes(next(own_cache.glob("*.npy")).read_bytes()[:-40])
    assert same(first, load_dataset(path))
    assert len(decodings) == 60


# --- what is held in memory -----------------------------------------------------------------------


def test_pictures_that_are_too_much_together_are_refused(tmp_path, monkeypatch):
    files = tree(2, 2, ("a", "b"))  # eight of 3 × 4 in colour
    path = pack(tmp_path, files)
    monkeypatch.setattr(pictures, "MAX_TOTAL", 8 * 36)
    assert pictures.read_pictures(path).pixels.nbytes == 8 * 36
    monkeypatch.setattr(pictures, "MAX_TOTAL", 8 * 36 - 1)
    with pytest.raises(DataError, match="take fewer, or make them smaller"):
        pictures.read_pictures(path)


def test_grey_pictures_count_as_colour_where_one_is(tmp_path, monkeypatch):
    files = {name: encoded(7, "L") for name in tree(2, 2, ("a", "b"))}
    path = pack(tmp_path, files | {"test/a/9.png": encoded((1, 2, 3))})
    monkeypatch.setattr(pictures, "MAX_TOTAL", 9 * 36 - 1)
    with pytest.raises(DataError, match="take fewer"):
        pictures.read_pictures(path)


def test_memory_that_runs_out_is_no_broken_picture(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(MemoryError):
        pictures.read_pictures(pack(tmp_path, tree()))
