"""A contest on few and clean digits; teams' work in this process, where nothing else is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpkit.contest import contest
from mpkit.contest.apart import heard_of
from mpkit.contest.worker import WORK, answer_to
from tests.conftest import SMALL_DIGITS

GROUND = SMALL_DIGITS | {"epochs": 3, "models": 1, "craft_steps": 2, "unroll_steps": 2}
LIMITS = {
    "budget": 0.05, "epsilon": "26/255", "targets": 2, "victims": 2, "ground": GROUND,
}  # fmt: skip
RED = {"team": "Foxes", "side": "red", "attack": {"craft_steps": 1}}
BLUE = {"team": "Hedgehogs", "side": "blue", "defense": {"defense": "jpeg", "jpeg_quality": 30}}


def write(folder: Path, name: str, row: object) -> Path:
    """A submission, or the limits where it is called so."""
    inner = folder if name == "limits" else folder / "submissions"
    inner.mkdir(exist_ok=True)
    path = inner / f"{name}.json"
    path.write_text(json.dumps(row), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A contest with one team on each side."""
    write(tmp_path, "limits", LIMITS)
    write(tmp_path, "foxes", RED)
    write(tmp_path, "hedgehogs", BLUE)
    return tmp_path


def at_once(job: dict, seconds: float):
    """What a worker answers, without a process of its own."""
    job = json.loads(json.dumps(job, allow_nan=False))
    try:
        yield from json.loads(json.dumps(list(WORK[job["what"]](job)), allow_nan=False))
    except Exception as error:
        heard_of(answer_to(error))


@pytest.fixture
def here(monkeypatch):
    """Teams' work in this process."""
    monkeypatch.setattr(contest, "answers", at_once)
