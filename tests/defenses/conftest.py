"""A small attack on signs, made ready."""

from __future__ import annotations

import pytest
from torch import nn

from mpkit import make_attack, prepare
from mpkit.data import Dataset
from mpkit.functional import State, init
from mpkit.runs.prepared import Prepared
from tests.blobs import dataset, small_net


def untrained(n: int) -> tuple[nn.Module, State, Dataset]:
    """A network that has learnt nothing, its state, and n pictures of three kinds."""
    module = small_net()
    return module, init(module, 0), dataset(n, 0)


@pytest.fixture(scope="session")
def small() -> Prepared:
    """A few dozen signs, from scratch, two victims of four epochs."""
    given = {"data": "signs", "fine_tune": "no", "target_index": 0, "n_train": 80, "n_test": 40}
    return prepare(make_attack("ci", **given, victims=2, epochs=4), progress=False)
