"""A small attack on signs, made ready."""

from __future__ import annotations

import pytest

from mpkit import make_attack, prepare
from mpkit.runs.prepared import Prepared


@pytest.fixture(scope="session")
def small() -> Prepared:
    """A few dozen signs, from scratch, two victims of four epochs."""
    given = {"data": "signs", "fine_tune": "no", "target_index": 0, "n_train": 80, "n_test": 40}
    return prepare(make_attack("ci", **given, victims=2, epochs=4), progress=False)
