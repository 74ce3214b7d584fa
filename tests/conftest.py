"""What all tests share: one thread, a folder of their own for what is kept, and who is attacked."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mpkit.data import Dataset, load_dataset
from mpkit.data.datasets import Splits
from mpkit.evaluation import margins
from mpkit.runs import workers
from mpkit.runs.attack import Attack, make_attack
from tests.forks import forking_workers

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/data/cifar10-images.tar.xz"
"""Pictures that do not ship."""


LONGEST = (
    "cli/test_attack_ranks", "lab/test_actions", "browser/test_craft_lab", "browser/test_voila",
    "browser/test_other_labs", "browser/test_why", "browser", "lab", "cli", "ranks", "",
    "evaluation", "runs", "rivals", "data", "contest", "defenses", "course",
)  # fmt: skip
"""Folders and files of tests by how long they take; "" are the files beside the folders. What takes
longest comes first, so that two processes that share the files end together."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    def place(item) -> int:
        folder, _, file = item.nodeid.partition("::")[0].removeprefix("tests/").rpartition("/")
        names = f"{folder}/{file[:-3]}", folder.split("/")[0], ""
        return next(LONGEST.index(name) for name in names if name in LONGEST)

    items.sort(key=place)


def pytest_collection_finish():
    """What is loaded by now stays: every full collection from here on may pass it over."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def until():
    """Waits for a condition; fails after a while."""

    def wait(condition, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came"
            time.sleep(0.005)

    return wait


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Sums come in one order, and tests that run side by side leave each other their cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """Where data and margins are kept while the tests run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_surroundings(cache, monkeypatch):
    """Nothing of the user's: no data folder, no scale, no word on how labs run."""
    monkeypatch.setenv("MPKIT_DATA", str(cache))
    for name in ("MPKIT_SCALE", "MPKIT_SYNC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def forked(monkeypatch):
    """Processes that work is spread over begin in no time; tests/runs/test_workers.py has those
    that users have."""
    own = SimpleNamespace(get_context=forking_workers)
    monkeypatch.setattr(workers, "multiprocessing", own)


@pytest.fixture
def no_home(monkeypatch):
    """A user without a home folder, as containers have them."""
    if os.name == "nt":
        for name in ("USERPROFILE", "HOMEPATH"):
            monkeypatch.delenv(name, raising=False)
        return

    def unknown(uid: int):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


SMALL_DIGITS = {"data": "digits", "n_train": 60, "n_test": 100, "size": 10, "noise": 0}
"""An attack on few and clean pictures, on which models learn something in no time."""


@pytest.fixture(scope="session")
def small_digits(cache) -> Splits:
    sizes = {name: value for name, value in SMALL_DIGITS.items() if name != "data"}
    return load_dataset("digits", cache=cache, **sizes)


@pytest.fixture
def nothing_known(tmp_path, monkeypatch):
    """No margins of before, neither in memory nor in a folder."""
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path))
    monkeypatch.setattr(margins, "_kept", {})
    monkeypatch.setattr(margins, "_locks", {})


@pytest.fixture
def trained(monkeypatch) -> list[margins.Clean]:
    """What the clean models were trained for since."""
    seen, compute = [], margins.compute_margins
    monkeypatch.setattr(margins, "compute_margins", lambda c, *a: seen.append(c) or compute(c, *a))
    return seen


def noise(n: int, seed: int) -> Dataset:
    """Random 8-bit pictures of three classes in turn."""
    x = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    return Dataset(x.float() / 255, torch.arange(n) % 3, ("a", "b", "c"), "noise")


def tuned_attack(**given) -> Attack:
    """A small attack on a last layer (or what else is fine-tuned) for road signs."""
    small = {
        "data": "signs", "max_train": 60, "max_test": 30, "network": "convnet-small", "models": 2,
        "craft_steps": 2, "epochs": 3, "batch": 20, "victims": 2, "epsilon": 8 / 255,
        "unroll_steps": 2,
    }  # fmt: skip
    return make_attack("laptop", **small | {"fine_tune": "last"} | given)
