"""Which pictures are to train on, and which to test on."""

from __future__ import annotations

import pytest

from mpkit.data import DataError
from mpkit.data.layout import CALLED, Place, found_in, is_picture, places


def read(*names: str):
    return places("pets", names)


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN_SET", "train-images", "trainset"])
@pytest.mark.parametrize("test", ["test", "Testing", "test set", "VAL", "validation", "valid_data"])
@pytest.mark.parametrize("top", ["", "x/", "x/y/z/", "test/", "train/", "my.train/"])
def test_whatever_has_one_meaning_is_read(train, test, top):
    at, strangers = read(f"{top}{train}/a/1.png", f"{top}{test}/a/sub/2.JPG", f"{top}notes.txt")
    assert at == {
        f"{top}{train}/a/1.png": Place("train", "a", "1.png"),
        f"{top}{test}/a/sub/2.JPG": Place("test", "a", "sub/2.JPG"),
    }
    assert strangers == [f"{top}notes.txt"]


def test_a_class_may_be_called_as_a_part_is():
    at, _ = read("train/train/1.png", "train/plane/1.png", "test/train/1.png", "test/plane/1.png")
    assert [tuple(place) for place in at.values()] == [
        ("train", "train", "1.png"), ("train", "plane", "1.png"),
        ("test", "train", "1.png"), ("test", "plane", "1.png"),
    ]  # fmt: skip


def test_empty_classes_are_seen_and_files_without_a_class_are_not():
    at, strangers = read("train/", "train/a/", "train/1.png", "test/a/more/", "test/a/1.txt")
    assert at == {"train/a/": Place("train", "a", ""), "test/a/more/": Place("test", "a", "")}
    assert strangers == ["train/1.png", "test/a/1.txt"]


def test_classes_that_look_alike_are_spelt_alike():
    at, _ = read("train/\xe9/1.png", "test/e\u0301/1.png")
    assert {place.spelt for place in at.values()} == {"e\u0301"}
    at, _ = read("train/\xe9/1.png", "train/e\u0301/1.png", "test/\xe9/1.png")
    assert len(set(at.values())) == 3  # none of two files of one name is lost


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train/a/1.png", "val/a/1.png", "validation/a/1.png"], "'val/' and 'validation/'"),
        (["Train/a/1.png", "train/a/1.png", "test/a/1.png"], "'Train/' and 'train/'"),
        (["a/train/c/1.png", "a/test/c/1.png", "b/train/c/1.png", "b/val/c/1.png"], "'a/', 'b/'"),
        (["train/a/1.png"], "no test/ folder"),
        (["test/a/1.png", "val/a/1.png"], "no train/ folder"),
        ([], "no train/ folder"),
    ],
)
def test_what_has_no_meaning_or_several_is_refused(names, words):
    with pytest.raises(DataError, match=words):
        places("pets", names)


def test_the_way_out_is_named_where_there_are_pictures():
    with pytest.raises(DataError, match=r"`mpkit pictures 'my pets' --out pets`"):
        places("my pets", ["cat/1.png"])
    with pytest.raises(DataError, match=r"Found: 1 \.zip in no folder$"):
        places("my pets", ["train.zip"])


def test_what_is_found_is_told_shortly():
    names = [f"{c}/{i}{e}" for c in "abcdefgh" for i in range(3) for e in (".png", ".heic")]
    told = found_in(names)
    assert told.startswith("3 .png and 3 .heic in 'a/', 3 .png and 3 .heic in 'b/'")
    assert told.endswith("and 2 more folders (.heic is not read here: save as JPEG or PNG)")
    assert found_in(["a/"]) == "no file"
    assert found_in(["x/README"]) == "1 without ending in 'x/'"


def test_kinds_are_told_by_names():
    assert is_picture("a/B.JFIF")
    assert not is_picture("a/b.heic")
    assert {"train", "trainingset", "testdata", "val"} <= CALLED.keys()
