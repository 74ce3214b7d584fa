"""Folders and archives as people bring them load rightly, or are refused in a sentence."""

from __future__ import annotations

import os
import re
import warnings

import numpy as np
import pytest

from mpkit.data import DataError, load_dataset
from tests.data.brought import CASES, SPLITS, upright
from tests.data.conftest import pixels

NEAR = 40
"""How far a channel of a JPEG, at its corners, may be from what was saved."""


def right(part, split: str, case) -> None:
    """Every picture is there once, upright, in its colours, under its label."""
    assert part.classes == tuple(sorted(case.classes))
    wanted = {
        (c, i): upright(split, c, i, case.grey)
        for c in range(len(case.classes))
        for i in range(SPLITS[split])
    }
    if case.note.startswith("10 pictures"):
        wanted = {k: np.where(image == 235, 255, image) for k, image in wanted.items()}
    assert len(part) == len(wanted)
    found = set()
    for picture, y in zip(pixels(part), part.y.tolist(), strict=True):
        label = case.classes.index(part.classes[y])
        picture = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0).astype(int)
        mine = {i: image for (c, i), image in wanted.items() if c == label}
        far = {i: abs(picture - image) for i, image in mine.items()}
        best = min(far, key=lambda i: far[i].mean())
        assert far[best].mean() < 4
        assert far[best].max() < NEAR
        found.add((label, best))
    assert found == set(wanted)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.skipif(os.name == "nt", reason="names and links that Windows does not allow")
def test_what_people_bring(name, tmp_path):
    case = CASES[name]
    path = case.make(tmp_path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if not case.refused:
            for part, split in zip(load_dataset(path), SPLITS, strict=True):
                right(part, split, case)
            assert [bool(re.search(case.note, str(w.message))) for w in said] == [True] * bool(
                case.note
            )
            return
        with pytest.raises(DataError) as caught:
            load_dataset(path)
    words = str(caught.value)
    assert re.search(case.refused, words), words
    assert "\n" not in words
    assert "object at 0x" not in words
    assert path.name in words or "differ in size" in words


def test_there_are_at_least_thirty():
    assert len(CASES) >= 30
    assert {bool(case.refused) for case in CASES.values()} == {True, False}
