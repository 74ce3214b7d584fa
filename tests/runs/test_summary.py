"""The picture of a run: every cell is looked for as a plain enlargement of what it shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.runs import summary
from mpkit.runs.ghost import changes, spread
from mpkit.runs.sheet import lines
from mpkit.runs.summary import COLUMNS, EDGE, summary_picture, title
from tests.runs.conftest import arms, changed, levels, scenario


def enlarged(picture: np.ndarray, about: int = 128) -> np.ndarray:
    """(C, H, W) levels → RGB, each pixel repeated."""
    times = max(round(about / picture.shape[-1]), -(-96 // picture.shape[-1]))
    rgb = np.broadcast_to(picture, (3, *picture.shape[1:]))
    return rgb.repeat(times, 1).repeat(times, 2).transpose(1, 2, 0)


def drawn(path, s, poisons, counted=None) -> np.ndarray:
    summary_picture(path, s, poisons, counted or arms())
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture).astype(int)


def places(sheet: np.ndarray, block: np.ndarray) -> list[tuple[int, int]]:
    """(column, row) of the pixels where a block stands in the sheet."""
    high, wide = block.shape[:2]
    rows, columns = sheet.shape[0] - high + 1, sheet.shape[1] - wide + 1
    found = np.argwhere((sheet[:rows, :columns] == block[0, 0]).all(-1))
    for y in range(0, high, 9):  # fewer and fewer of them, before all pixels are compared
        for x in range(0, wide, 9):
            found = found[(sheet[found[:, 0] + y, found[:, 1] + x] == block[y, x]).all(-1)]
    return [(x, y) for y, x in found if (sheet[y : y + high, x : x + wide] == block).all()]


def place(sheet: np.ndarray, block: np.ndarray) -> tuple[int, int]:
    (only,) = places(sheet, block)
    return only


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 128])
@pytest.mark.parametrize("poisons", [1, COLUMNS + 3])
def test_base_change_and_poison_stand_under_one_another(channels, size, poisons, tmp_path):
    s = scenario(channels, size, poisons)
    found = changed(s, by=10)
    sheet = drawn(tmp_path / "summary.png", s, found)
    delta = found.numpy().astype(int) - levels(s.base_images)
    shown = spread(changes(s, found).sizes, COLUMNS)
    seen = []
    for i in shown:
        columns, rows = zip(
            place(sheet, enlarged(levels(s.base_images)[i])),
            min(places(sheet, enlarged(128 + 12 * delta[i]))),  # 127 // 10; a single one has a twin
            place(sheet, enlarged(found.numpy()[i])),
            strict=True,
        )
        assert len(set(columns)) == 1
        assert list(rows) == sorted(set(rows))
        seen.append(columns[0])
    assert seen == sorted(set(seen))
    assert len(seen) == min(COLUMNS, poisons)
    right, _ = place(sheet, enlarged(levels(s.targets)[0], 160))
    assert right > seen[-1]


@pytest.mark.parametrize(("by", "factor"), [(0, 127), (1, 127), (2, 63), (127, 1), (200, 1)])
def test_changes_are_magnified_as_far_as_fits(by, factor, tmp_path):
    s = scenario()
    found = changed(s, by)
    delta = found.numpy().astype(int) - levels(s.base_images)
    sheet = drawn(tmp_path / "summary.png", s, found)
    assert places(sheet, enlarged(np.clip(128 + factor * delta[-1], 0, 255)))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_ghost_is_the_mean_change_of_all_poisons(channels, tmp_path):
    s = scenario(channels, poisons=9)
    found = changed(s, 3)
    mean = (found.numpy().astype(int) - levels(s.base_images)).mean(0)
    factor = int(127 / np.quantile(abs(mean), 0.95))
    ghost = np.clip(128 + factor * mean, 0, 255).astype(np.uint8)
    sheet = drawn(tmp_path / "summary.png", s, found)
    target = place(sheet, enlarged(levels(s.targets)[0], 160))
    x, y = place(sheet, enlarged(ghost, 160))
    assert x == target[0]
    assert y > target[1] + 160


@pytest.mark.parametrize("targets", [2, 3, 5])
def test_up_to_three_targets_are_shown(targets, tmp_path):
    s = scenario(3, target_index=tuple(range(targets)))
    sheet = drawn(tmp_path / "summary.png", s, changed(s, 3), arms(3, 2 * targets))
    found = [bool(places(sheet, enlarged(t, 160))) for t in levels(s.targets)]
    assert found == [i < 3 for i in range(targets)]


def test_nothing_is_cut_off(tmp_path):
    long = ("x" * 40, "W" * 300)
    for name, s in (("a", scenario()), ("b", scenario(classes=long))):
        for which in (("poisoned",), ("poisoned", "clean", "noise")):
            counted = arms(12_000, 24_000, which)
            sheet = drawn(tmp_path / f"{name}.png", s, changed(s, 1), counted)
            assert sheet.shape[1] < 2200
            for edge in (sheet[:EDGE], sheet[-EDGE:], sheet[:, :EDGE], sheet[:, -EDGE:]):
                assert (edge == 255).all()


@pytest.mark.parametrize(
    ("how", "counted", "words"),
    [
        ({}, arms(8, 8), "A “a” is called “b” by 8 of 8 victims"),
        ({}, arms(0, 8), "A “a” is called “b” by 0 of 8 victims"),
        ({}, arms(which=("clean",)), "A “a” is to be called “b”"),
        (
            {"target_index": (0, 2)},
            arms(7, 16),
            "2 pictures of “a” are called “b” in 7 of 16 cases",
        ),
        (
            {"goal": "self-concealment"},
            arms(3, 8),
            "A “a” is called something else by 3 of 8 victims",
        ),
        (
            {"classes": ("Kitten\n", "n" * 50)},
            arms(),
            f"A “Kitten” is called “{'n' * 31}…” by 1 of 2 victims",
        ),
    ],
)
def test_the_title_says_what_happened(how, counted, words):
    assert title(scenario(**how), counted) == words


@pytest.mark.parametrize(
    "names", [("Kätzchen", "猫"), ("a b", "née\u2028x"), ("ε\n", "\U0001f600"), (" ", "\u0301")]
)
def test_any_class_name_can_be_written(names, tmp_path):
    s = scenario(classes=names)
    drawn(tmp_path / "bild 图.png", s, changed(s, 1))


def test_letters_that_no_font_has_are_told_in_words(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(summary, "lines", lambda rows, *gap: said.extend(rows) or lines(rows, *gap))
    names = ("a", "b"), ("\U00012000", "b")
    for i, classes in enumerate(names):
        s = scenario(classes=classes)
        drawn(tmp_path / f"{i}.png", s, changed(s, 1))
        words = " ".join(text for text, *_ in said)
        assert ("A “[U+12000]” is called “b”" in words) == (i == 1)
        assert ("a letter that no font on this machine has. Install one" in words) == (i == 1)


@pytest.mark.parametrize("goal", ["self-concealment", "multi-class"])
def test_every_goal_has_its_picture(goal, tmp_path):
    how = {"adversarial_class": "b"} if goal == "multi-class" else {}
    s = scenario(goal=goal, **how)
    drawn(tmp_path / "summary.png", s, changed(s, 5))


def test_the_pictures_handed_in_are_left_alone(tmp_path):
    s, found = scenario(), changed(scenario(), 3)
    before = s.train.x.clone(), s.targets.clone(), found.clone()
    summary_picture(tmp_path / "summary.png", s, found, arms())
    assert all(map(torch.equal, before, (s.train.x, s.targets, found)))
