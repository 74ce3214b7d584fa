"""Drawn road signs: the same pixels everywhere, as varied as they say, and balanced."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from mpkit.data import DataError, faces, load_dataset, signs
from tests.data.conftest import pixels, same

SIX = range(len(faces.USUAL_SIGNS))


# sha256 of the bytes of 30 pictures to train on and of 18 to test on.
DIGESTS = {
    (0, 1.0): "cbe4ff8ac1754eb08872adca822a851067c18972d45ca861dd183149ad4c8e87",
    (7, 1.0): "e018f181f06b758b9e19ead7fa7bb5e7414cb499a03fcca79a5e676e6ec5d9d6",
    (0, 0.0): "7d993f62e85bd8c28d80d07d448cee8fb60dda3438ce0838c3af10bffffffe3f",
    (3, 2.0): "24ce40bc79fc490e48e7909ff10fe124d6b085b112e856a90838f43b4e449d58",
}


@pytest.fixture(scope="module")
def usual():
    return load_dataset("signs")


# ── what comes ──────────────────────────────────────────────────────────────────────────────────


def test_signs_by_default(usual):
    assert (len(usual.train), len(usual.test)) == (600, 300)
    for part, each in zip(usual, (100, 50), strict=True):
        assert part.name == "signs"
        assert part.shape == (3, 32, 32)
        assert part.classes == faces.USUAL_SIGNS
        assert part.x.dtype == torch.float32
        assert torch.equal(part.x, (part.x * 255).round() / 255)
        assert 0 <= part.x.min() < part.x.max() <= 1
        assert Counter(part.y.tolist()) == dict.fromkeys(SIX, each)


def test_a_sign_that_is_named_comes_beside_the_others():
    named = ("stop", "priority", "speed 50")
    train, _ = load_dataset("signs", classes=named, n_train=30, n_test=9)
    assert train.classes == named
    usual, _ = load_dataset("signs", n_train=60, n_test=18)
    for name, label in (("stop", 0), ("speed 50", 2)):  # and these are the same pictures
        mine = pixels(train)[train.y.numpy() == label]
        theirs = pixels(usual)[usual.y.numpy() == usual.classes.index(name)]
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize(("seed", "difficulty"), DIGESTS)
def test_the_pixels_are_the_same_on_every_machine(seed, difficulty):
    parts = load_dataset("signs", n_train=30, n_test=18, seed=seed, difficulty=difficulty)
    found = hashlib.sha256(b"".join(pixels(part).tobytes() for part in parts))
    assert found.hexdigest() == DIGESTS[seed, difficulty]


def test_no_two_pictures_are_alike(usual):
    seen = {row.tobytes() for part in usual for row in pixels(part)}
    assert len(seen) == 900
    other = load_dataset("signs", n_train=60, n_test=60, seed=1)
    assert not seen & {row.tobytes() for part in other for row in pixels(part)}


def test_more_pictures_begin_with_the_same_ones(usual):
    for n in (6, 7, 50, 121):
        some = load_dataset("signs", n_train=n, n_test=n)
        for few, many in zip(some, usual, strict=True):
            assert torch.equal(few.x, many.x[: len(few)])
            assert torch.equal(few.y, many.y[: len(few)])
        counts = Counter(some.train.y.tolist()).values()
        assert max(counts) - min(counts) <= 1
    assert len(load_dataset("signs", n_train=605, n_test=6).train) == 605


def test_the_order_is_drawn_by_lot(usual):
    rounds = [tuple(row) for row in usual.train.y.reshape(-1, 6).tolist()]
    assert all(sorted(row) == list(SIX) for row in rounds)
    assert len(set(rounds)) > 80


def test_some_classes_are_the_same_pictures_relabelled(usual):
    named = load_dataset("signs", classes=("give way", "stop"))
    assert same(named, load_dataset("signs", classes=[1, np.int64(0)]))
    assert named.train.classes == ("give way", "stop")
    assert (len(named.train), len(named.test)) == (200, 100)
    for label, sign in enumerate((1, 0)):
        few, many = named.train.x[named.train.y == label], usual.train.x[usual.train.y == sign]
        assert torch.equal(few, many)


def test_numbers_count_and_limits_limit():
    def sizes(**given):
        return [len(part) for part in load_dataset("signs", **given)]

    assert sizes(max_train=70, max_test=20) == [70, 20]
    assert sizes(max_train=9000, n_test=2, classes=["stop", "give way"]) == [200, 2]
    assert sizes(n_train=12, max_train=7, n_test=13, max_test=8) == [12, 13]


def test_nothing_is_random_but_what_the_seed_decides():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    some = load_dataset("signs", n_train=60, n_test=30)
    assert same(some, load_dataset("signs", n_train=60, n_test=30, seed=0))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    for seed in (-1, 2**64 - 1, np.int64(5)):
        assert len(load_dataset("signs", n_train=6, n_test=6, seed=seed).train) == 6


def test_nothing_is_written(tmp_path):
    load_dataset("signs", n_train=6, n_test=6, cache=tmp_path / "cache")
    assert not list(tmp_path.iterdir())


# ── how much they vary ──────────────────────────────────────────────────────────────────────────


def test_the_ranges_widen_with_the_difficulty():
    steps = [signs.ranges(d / 10) for d in range(21)]
    for name in steps[0]:
        widths = [step[name][1] - step[name][0] for step in steps]
        if name == "noise":
            widths = [step[name][0] for step in steps]
        assert widths[0] == 0
        assert all(a < b for a, b in pairwise(widths)), name


def test_harder_pictures_of_a_sign_are_less_alike():
    def spread(difficulty):
        part = load_dataset("signs", n_train=120, n_test=6, difficulty=difficulty).train
        middles = [part.x[part.y == k][:, :, 11:21, 11:21] for k in SIX]
        return float(sum(m.std(0).mean() / m.mean() for m in middles))  # hard ones are darker too

    found = [spread(d) for d in (0, 0.5, 1, 2)]
    assert found == sorted(found)
    assert found[0] < 0.1 * found[2]


def test_easy_signs_all_stand_in_the_middle():
    part = load_dataset("signs", n_train=24, n_test=6, difficulty=0).train
    for sign, name in enumerate(part.classes):
        middles = part.x[part.y == sign][:, :, 14:18, 14:18]
        assert torch.equal(middles, middles[:1].expand_as(middles)), name


def test_the_noise_is_nearly_normal():
    raw = signs._raw(0, (0, 0, 0), 100_000)
    noise = signs._bell(raw)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01
    for bound, share in ((1, 0.683), (2, 0.954), (3, 0.9973)):
        assert abs((np.abs(noise) < bound).mean() - share) < 0.008


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0, 2.0])
def test_the_blur_is_as_wide_as_it_says(sigma):
    point = np.zeros((1, 1, 33, 33))
    point[0, 0, 16, 16] = 1
    seen = signs._blurred(point, np.array([sigma]), max(sigma, 1))[0, 0]
    away = np.arange(33) - 16
    assert seen.sum() == pytest.approx(1)
    for axis in (0, 1):
        assert (seen.sum(axis) * away**2).sum() == pytest.approx(sigma**2)


def test_a_turn_is_as_many_degrees_as_it_says():
    one = np.ones(1)
    for turn in (-30, -15, 0, 10, 15, 30):
        place = [turn * one, one, 0 * one, 0 * one, one]
        seen = signs._seen([signs.SIGNS.index("no entry")], *place)[0]
        # The bar of the sign: where its white points are spread most.
        y, x = np.nonzero(seen == faces.WHITE) - np.array([[63.5], [63.5]])
        x, y = x[np.hypot(x, y) < 50], y[np.hypot(x, y) < 50]
        found = np.arctan2(2 * (x * y).mean(), (x * x).mean() - (y * y).mean()) / 2
        assert np.degrees(found) == pytest.approx(turn, abs=0.2)


# ── what will not do ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 5}, "n_train=5 must be from 6, one a class, to 100000"),
        ({"n_test": 10**9}, "n_test=1000000000 must be from 6, one a class, to 100000"),
        ({"n_train": None, "max_train": 3}, "max_train=3 must be from 6, one a class"),
        ({"n_train": 0}, "n_train=0 must be a whole number, 1 or more, or None"),
        ({"classes": ["stop", "yield"]}, "no class 'yield': there are stop, give way, danger"),
        ({"classes": ["stop", 7]}, "no class 7: .* 0 to 6"),
        ({"classes": ["stop"]}, "must name two classes or more"),
        ({"difficulty": -0.1}, r"difficulty=-0.1 must be a number from 0 .* to 2; usual is 1"),
        ({"difficulty": 2.1}, r"difficulty=2.1 must be a number from 0"),
        ({"difficulty": float("nan")}, r"difficulty=nan must be a number from 0"),
        ({"difficulty": "hard"}, r"difficulty=hard must be a number from 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(DataError, match=message):
        load_dataset("signs", **{"n_train": 6, "n_test": 6} | arguments)
