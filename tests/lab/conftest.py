"""Labs so small that a step takes no time."""

from __future__ import annotations

import time

import pytest

SMALL = {
    "data": "digits", "n_train": 60, "n_test": 60, "classes": ("1", "7"), "size": 8, "models": 2,
    "epochs": 3, "craft_steps": 6, "batch": 20, "victims": 2, "victim_epochs": 3,
}  # fmt: skip


@pytest.fixture
def until():
    """Waits for a condition; fails after a while."""

    def wait(condition, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came"
            time.sleep(0.005)

    return wait


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Makes small labs of a class, and closes them."""
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("MPKIT_SYNC", raising=False)
    labs = []

    def make(kind, *arguments, **given):
        lab = kind(*arguments, **(SMALL | given))
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()
        lab.runner.close(30)
