"""scikit-learn's digits, seen by a camera."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from mpkit.data import DataError, digits, load_dataset
from mpkit.data.digits import camera
from tests.data.conftest import check_invariants, same

# --- digits ---------------------------------------------------------------------------------------


def test_digits(digits_cache):
    splits = load_dataset("digits", cache=digits_cache)
    check_invariants(splits)
    assert (len(splits.train), len(splits.test)) == (500, 1297)
    assert splits.train.shape == (1, 32, 32)
    assert splits.train.classes == tuple("0123456789")
    assert splits.train.name == "digits"


def test_clean_digits_of_8_pixels_are_the_originals(digits_cache):
    from sklearn.datasets import load_digits

    original = load_digits()
    train, test = load_dataset("digits", size=8, noise=0, seed=3, cache=digits_cache)

    def bag(labels, levels):  # 0 … 16, as many as there are
        return Counter(zip(labels, map(bytes, levels.astype(np.uint8)), strict=True))

    images = torch.cat([train.x, test.x])[:, 0].numpy() * 16
    assert np.abs(images - images.round()).max() <= 8 / 255 + 1e-5
    labels = torch.cat([train.y, test.y]).tolist()
    assert bag(labels, images.round()) == bag(original.target.tolist(), original.images)


def test_digits_to_train_on_are_balanced_and_none_is_lost(digits_cache):
    for n, counts in ((None, {50}), (500, {50}), (33, {3, 4})):
        train, test = load_dataset("digits", n_train=n, seed=7, cache=digits_cache)
        assert set(Counter(train.y.tolist()).values()) == counts
        assert len(train) + len(test) == 1797


def enlarge(size: int) -> torch.Tensor:
    """(size, 8): linear interpolation between the centres of 8 pixels, written out."""
    matrix = torch.zeros(size, 8)
    for i in range(size):
        at = min(max((i + 0.5) * 8 / size - 0.5, 0), 7)
        left = min(int(at), 6)
        matrix[i, left], matrix[i, left + 1] = 1 - (at - left), at - left
    return matrix


@pytest.mark.parametrize("size", [8, 13, 28])
def test_camera_enlarges_bilinearly(size):
    images = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = enlarge(size) @ images @ enlarge(size).T
    seen = camera(images, size, 0)
    assert seen.shape == (7, 1, size, size)
    assert (seen - expected).abs().max() <= 0.5 / 255 + 1e-5


def test_camera_noise_is_gaussian_clipped_and_fixed():
    grey = torch.full((200, 1, 8, 8), 0.5)
    noise = camera(grey, 28, 0.1) - 0.5
    assert noise.mean().abs() < 1e-3
    gain = 1 / 1.2
    assert abs(noise.std() - 0.1 * gain) < 1e-3
    assert (
        abs((noise.abs() < 0.1 * gain).float().mean() - 0.683) < 0.01
    )  # a share that tells the shape
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(noise, camera(grey, 28, 0.1) - 0.5)
    z = torch.randn(noise.shape, generator=torch.Generator().manual_seed(digits.CAMERA_SEED))
    assert (noise - 0.1 * gain * z).abs().max() <= 0.5 / 255 + 1e-6
    strong = camera(grey, 28, 5.0)
    assert strong.min() == 0
    assert strong.max() == 1


def test_camera_turns_its_gain_down_with_the_noise():
    ink_and_paper = torch.cat([torch.zeros(300, 1, 8, 8), torch.ones(300, 1, 8, 8)])
    dark, light = camera(ink_and_paper, 8, 0.5).split(300)
    assert abs(light.median() - dark.median() - 0.5) < 0.01
    assert abs((dark == 0).float().mean() - 0.159) < 0.01  # beyond one σ on one side


def test_a_digit_keeps_its_noise_whatever_the_split(digits_cache):
    def bag(seed):
        parts = load_dataset("digits", seed=seed, size=10, cache=digits_cache)
        return Counter(row.numpy().tobytes() for part in parts for row in part.x)

    assert bag(0) == bag(1)
    assert len(bag(0)) == 1797


def test_same_arguments_same_digits_and_no_global_random_state(digits_cache):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one = load_dataset("digits", n_train=100, n_test=80, seed=5, cache=digits_cache)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    torch.rand(3)
    assert same(one, load_dataset("digits", n_train=100, n_test=80, seed=5, cache=digits_cache))
    assert not same(one, load_dataset("digits", n_train=100, n_test=80, seed=6, cache=digits_cache))
    assert (len(one.train), len(one.test)) == (100, 80)


def test_digits_of_some_classes_are_relabelled(digits_cache):
    named = load_dataset("digits", classes=["8", "3"], cache=digits_cache)
    check_invariants(named)
    assert same(named, load_dataset("digits", classes=(8, np.int64(3)), cache=digits_cache))
    assert named.train.classes == ("8", "3")
    assert len(named.train) == 2 * 50
    assert len(named.test) == 174 + 183 - 100  # eights and threes in scikit-learn's digits
    everything = load_dataset("digits", cache=digits_cache)
    eights = {row.numpy().tobytes() for part in everything for row in part.x[part.y == 8]}
    assert {row.numpy().tobytes() for part in named for row in part.x[part.y == 0]} == eights


def test_digits_are_the_same_where_scikit_learn_keeps_them_elsewhere(tmp_path, monkeypatch):
    from mpkit.data.digits import _table

    table, exists = _table(), Path.exists
    monkeypatch.setattr(Path, "exists", lambda p: p.name != "digits.csv.gz" and exists(p))
    assert (_table() == table).all()


def test_digits_come_from_the_cache_the_second_time(tmp_path, monkeypatch):
    first = load_dataset("digits", cache=tmp_path / "kept")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert same(first, load_dataset("digits", cache=tmp_path / "kept"))
    with pytest.raises(DataError, match="pip install scikit-learn"):
        load_dataset("digits", cache=tmp_path / "empty")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 7}, "size=7 must be a whole number of pixels, from 8 to 128"),
        ({"size": 129}, "size=129 must be a whole number of pixels, from 8 to 128"),
        ({"size": 9.5}, "size=9.5 must be a whole number"),
        ({"noise": -0.1}, r"noise=-0.1 must be 0 \(clean\) or more"),
        ({"noise": float("nan")}, "noise=nan"),
        ({"n_train": 0}, "n_train=0 must be a whole number, 1 or more, or None"),
        ({"n_test": -5}, "n_test=-5 must be"),
        ({"max_train": 0}, "max_train=0 must be a whole number, 1 or more, or None"),
        ({"max_test": "9"}, "max_test=9 must be a whole number"),
        ({"n_train": 2.5}, "n_train=2.5 must be a whole number"),
        ({"n_train": 1797}, "n_train=1797 of 1797 digits leaves 0 to test on, where 1 or more"),
        ({"n_train": 9999}, "n_train=9999 of 1797 digits leaves 0"),
        ({"n_test": 1298}, "n_train=500 of 1797 digits leaves 1297 to test on, where 1298"),
        ({"n_train": 1}, "leaves out digit .*draw more"),
        ({"n_test": 1}, "leaves out digit .*draw more"),
        ({"classes": ["3", "x"]}, "no class 'x': there are 0, 1, .*positions 0 to 9"),
        ({"classes": [3, 10]}, "no class 10"),
        ({"classes": [-1, 3]}, "no class -1"),
        ({"classes": ["3"]}, "must name two classes or more"),
        ({"classes": "3"}, "must name two classes or more"),
        ({"classes": []}, "must name two classes or more"),
        ({"classes": [3, "3"]}, "each once"),
    ],
)
def test_wrong_arguments_for_digits(arguments, message, digits_cache):
    with pytest.raises(DataError, match=message):
        load_dataset("digits", cache=digits_cache, **arguments)


# --- folders and archives of pictures -------------------------------------------------------------


def test_at_most_so_many_digits(digits_cache):
    def sizes(**given):
        return [len(part) for part in load_dataset("digits", cache=digits_cache, size=8, **given)]

    assert sizes(max_train=90, max_test=80) == [90, 80]
    assert sizes(max_train=9000, max_test=9000) == [500, 1297]
    assert sizes(max_train=9000, classes=["3", "8"]) == [100, 257]
    assert sizes(n_train=200, max_train=90, n_test=99, max_test=80) == [200, 99]
