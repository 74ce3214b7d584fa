"""A data set as a value, the one way to load it, and who is drawn."""

from __future__ import annotations

import itertools
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.data import DataError, Dataset, archives, load_dataset, pictures
from mpkit.data import datasets as data
from tests.conftest import SHARED
from tests.data.conftest import check_invariants, colours, encoded, pack, same, tree

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


@pytest.mark.parametrize("source", ["mnist", "no/such/folder", ""])
def test_an_unknown_source_lists_what_there_is(source):
    names = "'digits', 'signs', 'fashion', 'cifar10'"
    with pytest.raises(DataError, match=rf"{names}, or the path.*\.tar\.xz"):
        load_dataset(source)


# --- folders and archives of pictures -------------------------------------------------------------


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


def test_pictures_leave_the_global_random_state_alone(tmp_path):
    state = torch.get_rng_state()
    load_dataset(pack(tmp_path, tree()), n_train=3)
    assert torch.equal(torch.get_rng_state(), state)


# --- the cache ------------------------------------------------------------------------------------


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


def test_a_class_is_named_so_that_it_steers_no_terminal(tmp_path):
    path = pack(tmp_path, tree(classes=("a\x1b[31m", "b\n\u202e")))
    names = (r"a\x1b[31m", r"b\n\u202e")
    assert load_dataset(path).train.classes == names
    for asked in (names, ("a\x1b[31m", "b\n\u202e")):  # as it is shown, and as old runs have it
        assert load_dataset(path, classes=asked[::-1]).train.classes == names[::-1]
