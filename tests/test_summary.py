"""The picture of a run: every cell is compared with a plain enlargement of what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.data import Dataset
from mpkit.scenario import make_scenario
from mpkit.summary import CELL, COLUMNS, GAP, summary_picture

LINES = ["Victims that call the a b:", "  poisoned   1/2 = 50%"]


def scenario(channels=1, size=8, poisons=4, classes=("a", "b")):
    """Random pictures, the first `poisons` of class b being bases."""
    draw = torch.Generator().manual_seed(channels)

    def dataset(n):
        x = torch.randint(0, 256, (n, channels, size, size), generator=draw).float() / 255
        return Dataset(x, torch.arange(n) % 2, classes, "random")

    return make_scenario(dataset(40), dataset(6), classes[0], classes[1], budget=poisons / 40)


def levels(pictures: torch.Tensor) -> np.ndarray:
    return (pictures * 255).round().to(torch.int64).numpy()


def changed(s, by: int) -> torch.Tensor:
    """Poisons: each base with its first half of rows brighter, its second darker."""
    sign = torch.ones(s.base_images.shape[-1], 1, dtype=torch.int64)
    sign[len(sign) // 2 :] = -1
    found = torch.from_numpy(levels(s.base_images)) + by * sign
    return found.clamp(0, 255).to(torch.uint8)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """(C, H, W) levels → (CELL, CELL, 3), each pixel repeated; CELL is a multiple of 8 and 7."""
    times = CELL // picture.shape[-1]
    rgb = np.broadcast_to(picture, (3, *picture.shape[1:]))
    return rgb.repeat(times, 1).repeat(times, 2).transpose(1, 2, 0)


def drawn(path, s, poisons, lines=LINES) -> np.ndarray:
    summary_picture(path, s, poisons, lines)
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture)


def cell(sheet: np.ndarray, row: int, column: int, lines=LINES) -> np.ndarray:
    top, left = 22 * (len(lines) + 1) + row * (CELL + GAP), 90 + column * (CELL + GAP)
    return sheet[top : top + CELL, left : left + CELL]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [7, 8, 16])
@pytest.mark.parametrize("poisons", [1, 4, COLUMNS + 3])
def test_cells_show_bases_changes_poisons_and_the_target(channels, size, poisons, tmp_path):
    s = scenario(channels, size, poisons)
    found = changed(s, by=10)
    sheet = drawn(tmp_path / "summary.png", s, found)
    shown = min(COLUMNS, poisons)
    delta = found.numpy().astype(int) - levels(s.base_images)
    for c in range(shown):
        assert (cell(sheet, 0, c) == enlarged(levels(s.base_images)[c])).all()
        assert (cell(sheet, 1, c) == enlarged(128 + 12 * delta[c])).all()  # 127 // 10
        assert (cell(sheet, 2, c) == enlarged(found.numpy()[c])).all()
    top, left = 22 * 3, 90 + shown * (CELL + GAP) + GAP
    assert (sheet[top : top + CELL, left : left + CELL] == enlarged(levels(s.targets)[0])).all()


@pytest.mark.parametrize(("by", "factor"), [(0, 127), (1, 127), (2, 63), (127, 1), (200, 1)])
def test_changes_are_magnified_as_far_as_fits(by, factor, tmp_path):
    s = scenario()
    found = changed(s, by)
    delta = found.numpy().astype(int) - levels(s.base_images)
    sheet = drawn(tmp_path / "summary.png", s, found)
    expected = np.clip(128 + factor * delta[0], 0, 255)
    assert (cell(sheet, 1, 0) == enlarged(expected)).all()


def test_the_text_is_above_and_none_of_it_is_cut_off(tmp_path):
    s = scenario()
    narrow = drawn(tmp_path / "a.png", s, changed(s, 1))
    long = ["x" * 300, *LINES[1:]]
    wide = drawn(tmp_path / "b.png", s, changed(s, 1), long)
    head = 22 * len(LINES)
    for sheet in (narrow, wide):
        ink = (sheet[:head].min(-1) < 128).any(0).nonzero()[0]
        assert len(ink)
        # The last letter is whole: a margin of paper follows it.
        assert ink.max() <= sheet.shape[1] - GAP
    assert wide.shape[1] > narrow.shape[1]


@pytest.mark.parametrize(
    "names", [("Kätzchen", "猫"), ("a b", "née\u2028x"), ("ε\n", "\U0001f600")]
)
def test_any_class_name_can_be_written(names, tmp_path):
    s = scenario(classes=names)
    drawn(tmp_path / "bild 图.png", s, changed(s, 1), [f"{names[0]} as {names[1]}"])


def test_the_pictures_handed_in_are_left_alone(tmp_path):
    s, found = scenario(), changed(scenario(), 3)
    before = s.train.x.clone(), s.targets.clone(), found.clone()
    summary_picture(tmp_path / "summary.png", s, found, LINES)
    assert all(map(torch.equal, before, (s.train.x, s.targets, found)))
