"""The clothes of Fashion-MNIST that ship: whole, in their places, and refused when damaged."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.data import DataError, fashion, load_dataset
from tests.data.conftest import pixels


@pytest.fixture(scope="module")
def cell():
    """``cell(row, column)``: one picture of the file, cut out of it."""
    with Image.open(fashion.SPRITE) as image:
        sprite = image.convert("L")

    def cut(row: int, column: int) -> bytes:
        return sprite.crop((28 * column, 28 * row, 28 * column + 28, 28 * row + 28)).tobytes()

    return cut


@pytest.fixture(scope="module")
def everything():
    return load_dataset("fashion")


def test_the_file_is_the_one_that_was_published():
    assert hashlib.sha256(fashion.SPRITE.read_bytes()).hexdigest() == fashion.SHA256
    licence = (fashion.SPRITE.parent / "LICENSE").read_text("utf-8")
    assert "MIT License" in licence
    assert "Zalando SE" in licence
    with Image.open(fashion.SPRITE) as image:
        channels = np.asarray(image)
    assert channels.shape == (840, 840, 4)
    assert (channels[..., :3] == channels[..., :1]).all()
    assert (channels[..., 3] == 255).all()


def test_all_of_it_by_default(everything):
    for part, each in zip(everything, (60, 30), strict=True):
        assert part.name == "fashion"
        assert part.classes == fashion.CLASSES
        assert part.shape == (1, 28, 28)
        assert part.x.dtype == torch.float32
        assert torch.equal(part.x, (part.x * 255).round() / 255)
        assert Counter(part.y.tolist()) == dict.fromkeys(range(10), each)


@pytest.mark.parametrize("label", range(10))
def test_the_first_two_rows_of_a_class_train_and_the_third_tests(label, everything, cell):
    for part, rows in zip(everything, ((0, 1), (2,)), strict=True):
        expected = {cell(3 * label + row, column) for row in rows for column in range(30)}
        assert {row.tobytes() for row in pixels(part)[(part.y == label).numpy()]} == expected


def test_the_pictures_are_read_in_the_order_of_the_file(cell):
    found = fashion.read()
    for number, place in ((0, (0, 0)), (59, (1, 29)), (60, (3, 0)), (600, (2, 0)), (899, (29, 29))):
        assert found.pixels[number].tobytes() == cell(*place)


def test_the_labels_fit_the_pictures(everything):
    means = [everything.train.x[everything.train.y == k].mean(0) for k in range(10)]
    away = [(everything.test.x - mean).square().sum((1, 2, 3)) for mean in means]
    nearest = torch.stack(away).argmin(0)
    assert (nearest == everything.test.y).float().mean() > 0.6


def test_numbers_classes_and_seeds_are_those_of_every_source(everything):
    train, test = load_dataset("fashion", classes=["coat", 2], n_train=31, max_test=20)
    assert train.classes == test.classes == ("coat", "pullover")
    assert Counter(train.y.tolist()) in ({0: 16, 1: 15}, {0: 15, 1: 16})
    assert Counter(test.y.tolist()) == {0: 10, 1: 10}
    known = {row.tobytes() for row in pixels(everything.train)}
    assert {row.tobytes() for row in pixels(train)} <= known
    again, _ = load_dataset("fashion", seed=0)
    other, _ = load_dataset("fashion", seed=1)
    assert torch.equal(again.x, everything.train.x)
    assert not torch.equal(other.x, everything.train.x)


def test_no_random_state_is_touched_and_nothing_is_written(tmp_path):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    load_dataset("fashion", cache=tmp_path / "cache")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 601}, "n_train=601 must be from 10, one a class, to 600"),
        ({"n_test": 301}, "n_test=301 must be from 10, one a class, to 300"),
        ({"classes": ["coat", "hat"]}, "no class 'hat': there are t-shirt, .*, ankle boot"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(DataError, match=message):
        load_dataset("fashion", **arguments)


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    whole = fashion.SPRITE.read_bytes()
    path = tmp_path / "sprite.png"
    monkeypatch.setattr(fashion, "SPRITE", path)
    for blob in (b"", whole[:-1], whole[:500] + b"x" + whole[501:]):
        path.write_bytes(blob)
        with pytest.raises(DataError, match=r"sprite.png is damaged: .*'digits', 'signs' or"):
            load_dataset("fashion")


def test_a_file_that_is_not_there_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion, "SPRITE", tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"cannot be read: .*gone.png.*mpkit's source code"):
        load_dataset("fashion")
