"""Data in, and everything that can be wrong with it. All pictures and archives are made here."""

import hashlib
import http.server
import io
import itertools
import os
import pickle
import tarfile
import threading
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.data import (
    DataError,
    Dataset,
    archives,
    cache_folder,
    cifar10,
    digits,
    fetch_cifar10,
    load_dataset,
    pictures,
    places,
)
from mpkit.data import datasets as data
from mpkit.data.digits import camera

SHARED = Path(__file__).parents[2] / "shared/data/cifar10-images.tar.xz"
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


# --- Dataset --------------------------------------------------------------------------------------


def small() -> Dataset:
    x = torch.arange(5.0)[:, None, None, None].expand(5, 1, 2, 3) / 255
    return Dataset(x.contiguous(), torch.tensor([0, 1, 1, 0, 1]), ("no", "yes"), "small")


def test_dataset_looks_like_its_tensors():
    dataset = small()
    assert len(dataset) == 5
    assert dataset.shape == (1, 2, 3)
    with pytest.raises(AttributeError):
        dataset.name = "other"


@pytest.mark.parametrize(
    "rows", [[4, 0], torch.tensor([4, 0]), np.array([4, 0]), np.array([4, 0], np.uint8)]
)
def test_subset_takes_rows_in_the_given_order(rows):
    part = small().subset(rows)
    assert (part.x[:, 0, 0, 0] * 255).tolist() == [4, 0]
    assert part.y.tolist() == [1, 0]
    assert part.classes == ("no", "yes")


def test_subset_takes_a_mask_and_nothing_at_all():
    mask = torch.tensor([True, False, False, True, True])
    assert small().subset(mask).y.tolist() == [0, 0, 1]
    assert len(small().subset([])) == 0


def test_subset_shares_no_memory():
    dataset = small()
    dataset.subset([0, 1]).x.fill_(1)
    assert dataset.x.max() < 1


def test_rows_of_a_class_come_in_order():
    assert small().rows_of(1).tolist() == [1, 2, 4]
    assert small().rows_of(0).dtype == torch.int64
    for label in (-1, 2):
        with pytest.raises(DataError, match=f"no label {label}.*0 to 1"):
            small().rows_of(label)


def test_to_another_device():
    part = small().to("meta")
    assert part.x.device.type == part.y.device.type == "meta"
    assert part.name == "small"


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(2, 3, 4), torch.zeros(2).long()),
        (torch.zeros(2, 3, 4, 4).double(), torch.zeros(2).long()),
        (torch.zeros(2, 3, 4, 4), torch.zeros(3).long()),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2).int()),
    ],
)
def test_dataset_refuses_other_types_and_shapes(x, y):
    with pytest.raises(DataError, match="must be"):
        Dataset(x, y, ("a", "b"), "wrong")


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


@pytest.mark.parametrize("source", ["mnist", "no/such/folder", ""])
def test_an_unknown_source_lists_what_there_is(source):
    names = "'digits', 'signs', 'fashion', 'cifar10'"
    with pytest.raises(DataError, match=rf"{names}, or the path.*\.tar\.xz"):
        load_dataset(source)


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


def test_grey_pictures_keep_one_channel_and_mixed_ones_become_rgb(tmp_path):
    grey = {
        "train/a/0.png": encoded(10, "L"),
        "train/b/0.png": encoded(1, "1"),
        "test/a/0.png": encoded((30, 128), "LA"),
        "test/b/0.pgm": encoded(40, "L", form="PPM"),
    }
    train, test = load_dataset(pack(tmp_path, grey))
    assert train.shape == (1, 3, 4)
    assert sorted(colours(train) + colours(test)) == [(10,), (30,), (40,), (255,)]
    palette = Image.new("RGB", (4, 3), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE)
    file = io.BytesIO()
    palette.save(file, "GIF")
    mixed = grey | {
        "test/a/1.gif": file.getvalue(),
        "test/a/2.png": encoded((7, 8, 9, 100), "RGBA"),
        "test/b/3.BMP": encoded((4, 5, 6), form="BMP"),
    }
    train, test = load_dataset(pack(tmp_path, mixed, name="mixed"))
    assert sorted(colours(train)) == [(10,) * 3, (255,) * 3]
    assert sorted(colours(test)) == [(1, 2, 3), (4, 5, 6), (7, 8, 9), (30,) * 3, (40,) * 3]


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


def test_classes_by_name_or_position(tmp_path):
    path = pack(tmp_path, tree())
    named = load_dataset(path, classes=["cat", "ant"])
    assert same(named, load_dataset(str(path), classes=(2, 0)))
    assert named.test.classes == ("cat", "ant")
    assert [(2, 0)[y] for y in named.test.y] == [colour[0] for colour in colours(named.test)]
    with pytest.raises(DataError, match="no class 'dog': there are ant, bee, cat"):
        load_dataset(path, classes=["ant", "dog"])


def test_draws_are_even_nested_shuffled_and_repeatable(tmp_path):
    files = tree(train=12, test=2, classes=("ant", "bee"))
    files |= {f"train/cat/{i}.png": encoded((2, 0, i)) for i in range(3)}  # few of one class
    files |= {"test/cat/0.png": encoded((2, 1, 0))}
    path = pack(tmp_path, files)
    drawn = [colours(load_dataset(path, n_train=n, seed=1).train) for n in (3, 7, 10, 12, 27)]
    for some, counts in zip(
        drawn, ([1] * 3, [2, 2, 3], [3, 3, 4], [3, 4, 5], [3, 12, 12]), strict=True
    ):
        assert sorted(Counter(colour[0] for colour in some).values()) == counts
        assert len(set(some)) == len(some)
    for few, many in itertools.pairwise(drawn):
        assert few == [colour for colour in many if colour in few]
    everything = colours(load_dataset(path, seed=1).train)
    assert everything == drawn[-1]
    assert everything != sorted(everything)
    assert everything == colours(load_dataset(path, seed=1, n_test=3).train)
    assert everything != colours(load_dataset(path, seed=2).train)


@pytest.mark.parametrize("n", [2, 10])
def test_n_outside_what_there_is(n, tmp_path):
    with pytest.raises(DataError, match=f"n_train={n} must be from 3, one a class, to 9"):
        load_dataset(pack(tmp_path, tree()), n_train=n)
    with pytest.raises(DataError, match="n_test=7 must be from 3, one a class, to 6"):
        load_dataset(pack(tmp_path, tree()), n_test=7)


def test_at_most_so_many_is_no_demand(tmp_path):
    path = pack(tmp_path, tree())
    whole, most = load_dataset(path), load_dataset(path, max_train=100, max_test=6)
    assert same(whole, most)
    fewer = load_dataset(path, max_train=7, max_test=3)
    assert same(fewer, load_dataset(path, n_train=7, n_test=3))
    assert same(fewer, load_dataset(path, n_train=7, max_train=2, max_test=3))  # n counts
    with pytest.raises(DataError, match="n_train=100 must be from 3, one a class, to 9"):
        load_dataset(path, n_train=100, max_train=100)
    with pytest.raises(DataError, match="max_test=2 must be from 3, one a class, to 6"):
        load_dataset(path, max_test=2)


def test_at_most_so_many_digits(digits_cache):
    def sizes(**given):
        return [len(part) for part in load_dataset("digits", cache=digits_cache, size=8, **given)]

    assert sizes(max_train=90, max_test=80) == [90, 80]
    assert sizes(max_train=9000, max_test=9000) == [500, 1297]
    assert sizes(max_train=9000, classes=["3", "8"]) == [100, 257]
    assert sizes(n_train=200, max_train=90, n_test=99, max_test=80) == [200, 99]


def test_pictures_leave_the_global_random_state_alone(tmp_path):
    state = torch.get_rng_state()
    load_dataset(pack(tmp_path, tree()), n_train=3)
    assert torch.equal(torch.get_rng_state(), state)


# --- what can be wrong with pictures --------------------------------------------------------------


def without(prefix: str) -> dict[str, bytes]:
    return {name: blob for name, blob in tree().items() if not name.startswith(prefix)}


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
    monkeypatch.setattr(pictures, "MAX_PIXELS", 11)
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="4 × 3 is over 11 pixels"):
        load_dataset(pack(tmp_path, tree()))


def test_pillows_own_bomb_alarm_is_our_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match="decompression bomb"):
        load_dataset(pack(tmp_path, tree()))


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


# --- the cache ------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch):
    """The names of the pictures decoded so far."""
    names, decode = [], pictures._decode

    def counted(name, blob):
        names.append(name)
        return decode(name, blob)

    monkeypatch.setattr(pictures, "_decode", counted)
    return names


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
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 1))
    assert (99, 99, 99) in colours(load_dataset(path).train)
    assert len(decodings) == 30
    os.utime(touched, ns=(1, touched.stat().st_mtime_ns + 1))  # of the same size, but later
    load_dataset(path)
    assert len(decodings) == 45


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


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("source", ["digits", "pictures"])
def test_an_interrupted_write_leaves_nothing_half_done(
    stop, source, tmp_path, own_cache, monkeypatch
):
    source = pack(tmp_path, tree()) if source == "pictures" else source

    def half(file, array):
        file.write(b"\x93NUMPY half of it")
        raise stop("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(np, "save", half)
        if stop is OSError:
            with pytest.warns(UserWarning, match="going on without it"):
                load_dataset(source)
        else:
            with pytest.raises(KeyboardInterrupt):
                load_dataset(source)
    assert not list(own_cache.iterdir())
    expected = load_dataset(source)
    assert len(list(own_cache.iterdir())) == (1 if source == "digits" else 2)
    assert same(expected, load_dataset(source))


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


@pytest.mark.parametrize("source", ["digits", "pictures"])
def test_without_a_cache_folder_it_goes_on_with_a_warning(source, tmp_path):
    source = pack(tmp_path, tree()) if source == "pictures" else source
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="cannot write .*going on without it") as warned:
        splits = load_dataset(source, cache=tmp_path / "file" / "cache")
    assert len(warned) == 1
    assert same(splits, load_dataset(source))


class Payload:
    """Unpickling it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("source", ["digits", "pictures"])
@pytest.mark.parametrize("form", ["plain", "npy"])
def test_a_pickle_in_the_cache_is_never_read(source, form, tmp_path, own_cache):
    source = pack(tmp_path, tree()) if source == "pictures" else source
    first, trace = load_dataset(source), tmp_path / "trace"
    file = next(own_cache.glob("*.npy"))
    with open(file, "wb") as out:
        if form == "npy":
            np.save(out, np.array([Payload(trace)], dtype=object), allow_pickle=True)
        else:
            pickle.dump(Payload(trace), out)
    assert same(first, load_dataset(source))
    assert not trace.exists()
    np.load(own_cache / file.name, allow_pickle=False)
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists()  # the payload would have told


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("~/here") == tmp_path / "here"
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "there"))
    assert cache_folder() == tmp_path / "there"
    assert cache_folder("here") == Path("here")
    monkeypatch.delenv("MPKIT_DATA")
    monkeypatch.setattr(places, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache/mpkit"
    (tmp_path / "checkout/data").mkdir(parents=True)
    (tmp_path / "checkout/data/README.md").touch()
    (tmp_path / "checkout/pyproject.toml").touch()
    assert cache_folder() == (tmp_path / "checkout/data").resolve()


# --- CIFAR-10 -------------------------------------------------------------------------------------

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat")


def cifar_files(seed=0) -> dict[str, bytes]:
    """Six small batches in the official layout; the first red byte of a record is its label."""
    generator = np.random.default_rng(seed)
    files = {
        "batches.meta.txt": "\n".join((*CIFAR_CLASSES, "", "")).encode(),
        "readme.html": b"<p>",
    }
    for name in (*cifar10.BATCHES["train"], *cifar10.BATCHES["test"]):
        rows = generator.integers(0, 256, (8, 3073), np.uint8)
        rows[:, 0] = rows[:, 1] = generator.permutation(8) % 4
        files[name] = rows.tobytes()
    return {f"cifar-10-batches-bin/{name}": blob for name, blob in files.items()}


@pytest.fixture
def server(monkeypatch):
    """Serves `server.files`; `server.offer(blob)` makes it the official archive."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.requests.append(self.path)
            blob, claimed = served.files.get(self.path, (None, 0))
            self.send_response(404 if blob is None else 200)
            self.send_header("Content-Length", str(claimed))
            self.end_headers()
            self.wfile.write(blob or b"")

        def log_message(self, *_):
            pass

    def offer(blob, sha256=None, claimed=None):
        served.files["/cifar.tar.gz"] = (blob, len(blob) if claimed is None else claimed)
        monkeypatch.setattr(cifar10, "SHA256", sha256 or hashlib.sha256(blob).hexdigest())

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.files, served.requests, served.offer = {}, [], offer
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{served.server_port}/cifar.tar.gz")
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def cifar_blob(tmp_path, files=None) -> bytes:
    return pack(tmp_path, files or cifar_files(), "tar.gz", name="made").read_bytes()


def test_cifar10_is_fetched_once_and_parsed(tmp_path, own_cache, server):
    server.offer(cifar_blob(tmp_path))
    splits = load_dataset("cifar10", progress=False)
    check_invariants(splits)
    assert splits.train.shape == (3, 32, 32)
    assert splits.train.classes == CIFAR_CLASSES
    assert splits.train.name == "cifar10"
    assert same(splits, load_dataset("cifar10"))
    assert fetch_cifar10() == own_cache / "cifar.tar.gz"
    assert len(server.requests) == 1
    for part, names in zip(splits, cifar10.BATCHES.values(), strict=True):
        records = [cifar_files()[f"cifar-10-batches-bin/{name}"] for name in names]
        raw = b"".join(records)
        expected = Counter(raw[i : i + 3073] for i in range(0, len(raw), 3073))
        pixels = (part.x * 255).round().byte().flatten(1).numpy()
        labels = part.y.numpy().astype(np.uint8)[:, None]
        assert Counter(row.tobytes() for row in np.hstack([labels, pixels])) == expected


def test_cifar10_is_never_unpacked_and_survives_without_its_archive(tmp_path, own_cache, server):
    server.offer(cifar_blob(tmp_path))
    first = load_dataset("cifar10", progress=False)
    kept = sorted(file.name for file in own_cache.iterdir())
    key = f"cifar10-{cifar10.SHA256[:16]}"
    assert kept == ["cifar.tar.gz", f"{key}.json", f"{key}.npy"]
    (own_cache / "cifar.tar.gz").unlink()
    assert same(first, load_dataset("cifar10"))
    assert len(server.requests) == 1


def test_an_archive_put_there_by_hand_needs_no_network(tmp_path, own_cache, server):
    blob = cifar_blob(tmp_path)
    server.offer(blob)
    own_cache.mkdir()
    (own_cache / "cifar.tar.gz").write_bytes(blob)
    load_dataset("cifar10", n_train=4, classes=[0, 3])
    assert not server.requests


def test_fetching_shows_a_bar_when_asked(tmp_path, server, capsys):
    server.offer(cifar_blob(tmp_path))
    fetch_cifar10(tmp_path / "quiet", progress=False)
    assert "%|" not in capsys.readouterr().err
    fetch_cifar10(tmp_path / "bar", progress=True)
    assert "100%|" in capsys.readouterr().err


@pytest.mark.parametrize("before", [None, b"an old or broken file"])
def test_a_wrong_checksum_leaves_no_bad_file_and_a_retry_works(before, tmp_path, own_cache, server):
    blob = cifar_blob(tmp_path)
    own_cache.mkdir()
    if before:
        (own_cache / "cifar.tar.gz").write_bytes(before)
    server.offer(b"something else", sha256=hashlib.sha256(blob).hexdigest())
    with pytest.raises(DataError, match=r"wrong checksum.*Try again later, or put the archive"):
        load_dataset("cifar10", progress=False)
    assert [file.read_bytes() for file in own_cache.iterdir()] == ([before] if before else [])
    server.offer(blob)
    assert len(load_dataset("cifar10", progress=False).train) == 40


@pytest.mark.parametrize("honest", [True, False])
def test_a_download_cut_short_leaves_no_bad_file(honest, tmp_path, own_cache, server):
    blob = cifar_blob(tmp_path)
    claimed = len(blob) if honest else len(blob) // 2
    server.offer(blob[: len(blob) // 2], hashlib.sha256(blob).hexdigest(), claimed)
    with pytest.raises(DataError, match="no network" if honest else "wrong checksum"):
        load_dataset("cifar10", progress=False)
    assert not list(own_cache.iterdir())


def test_no_network(own_cache, server, monkeypatch):
    with http.server.HTTPServer(("127.0.0.1", 0), None) as closed:
        port = closed.server_port
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:{port}/cifar.tar.gz")
    with pytest.raises(DataError, match="no network") as caught:
        load_dataset("cifar10", progress=False)
    for way_out in ("Try again later", str(own_cache / "cifar.tar.gz"), "'digits'", cifar10.SHA256):
        assert way_out in str(caught.value)


def test_an_address_that_is_gone(server):
    with pytest.raises(DataError, match="404"):
        load_dataset("cifar10", progress=False)


def test_a_folder_that_cannot_take_the_download(tmp_path, server):
    server.offer(cifar_blob(tmp_path))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match=r"cannot write .*Set MPKIT_DATA"):
        load_dataset("cifar10", cache=tmp_path / "file", progress=False)


def test_without_pooch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(DataError, match="pip install pooch"):
        fetch_cifar10()


def test_official_archive_is_the_one_everybody_knows():
    assert cifar10.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert len(bytes.fromhex(cifar10.SHA256)) == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"../evil": b"x"}, r"outside its own folder, '\.\./evil'"),
        ({"cifar-10-batches-bin/test_batch.bin": b""}, "lacks test_batch.bin: delete it"),
        ({"cifar-10-batches-bin/test_batch.bin": bytes(3072)}, "is not CIFAR-10 in binary"),
        ({"cifar-10-batches-bin/test_batch.bin": b"\x04" * 3073}, "is not CIFAR-10 in binary"),
        ({"cifar-10-batches-bin/test_batch.bin": bytes(3073)}, "'automobile' .* 0 in test/"),
    ],
)
def test_an_archive_that_is_not_cifar10(change, message, tmp_path, own_cache, server):
    server.offer(cifar_blob(tmp_path, cifar_files() | change))
    with pytest.raises(DataError, match=message):
        load_dataset("cifar10", progress=False)
    assert [file.name for file in own_cache.iterdir()] == ["cifar.tar.gz"]
    assert not (tmp_path / "evil").exists()


def test_a_truncated_cifar10_archive(tmp_path, server):
    blob = cifar_blob(tmp_path)
    for cut in (10, len(blob) // 3, len(blob) * 2 // 3):
        server.offer(blob[:cut])
        with pytest.raises(DataError, match="cut off or damaged"):
            load_dataset("cifar10", progress=False)


# --- sixty thousand pictures ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason=f"NOT TESTED at full size: no pictures at {SHARED}")
def test_all_of_cifar10_as_jpeg(own_cache):
    classes = ["ship", "cat"]
    train, test = load_dataset(SHARED, classes=classes, n_train=10_000, progress=False)
    assert (len(train), len(test)) == (10_000, 2_000)
    check_invariants(data.Splits(train, test))
    known = {}
    with tarfile.open(SHARED) as archive:  # an independent look at a few pictures
        for info in archive:
            if info.isfile() and info.name.startswith("train/cat/"):
                known[info.name] = np.array(Image.open(archive.extractfile(info)))
            if len(known) == 20:
                break
    pixels = (train.x * 255).round().byte()
    for picture in known.values():
        rows = (pixels == torch.from_numpy(picture.transpose(2, 0, 1))).flatten(1).all(1)
        assert train.y[rows].tolist() == [1]
    about = pictures.remember(own_cache, f"pictures-{archives.fingerprint(SHARED)}", None)
    assert about.train == (5000,) * 10
    assert about.test == (1000,) * 10
    assert about.pixels.shape == (60_000, 3, 32, 32)
    assert same((train, test), load_dataset(SHARED, classes=classes, n_train=10_000))
