"""Poisons made elsewhere: what is read, and what is refused."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mpkit.contest.contest import open_contest
from mpkit.contest.limits import limits_of
from mpkit.contest.pictures import Poisons, check, read
from mpkit.contest.submission import read_submission
from mpkit.runs.prepared import load_scenario
from mpkit.runs.record import save_poisons
from tests.contest.conftest import LIMITS, write

NAMED = {"target_class": "1", "poison_class": "7", "target_index": 0}
LIMITED = limits_of(LIMITS | {"named": NAMED})  # three of 60 pictures, 26 levels


@pytest.fixture(scope="module")
def train():
    return load_scenario(LIMITED.attack(**NAMED), progress=False).train


@pytest.fixture
def good(train) -> Poisons:
    """All that the limits allow."""
    rows = torch.tensor([3, 5, 8])
    levels = (255 * train.x[rows]).round().int()
    return Poisons((levels + 26 * (1 - 2 * (levels > 127).int())).to(torch.uint8), rows)


def test_folders_zips_and_runs_are_read(tmp_path, good):
    (tmp_path / "run").mkdir()
    save_poisons(tmp_path / "run", *good)
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for path in (tmp_path / "run" / "poisons").glob("*.png"):
            archive.write(path, path.name)
    for name in ("run", "run/poisons", "mine.zip"):
        found, _ = read(tmp_path, name, LIMITED)
        order = found.rows.argsort()
        assert torch.equal(found.rows[order], good.rows)
        assert torch.equal(found.pictures[order], good.pictures)


def test_a_submission_of_pictures_changes_its_digest_with_them(tmp_path, good, train):
    path = write(tmp_path, "owls", {"team": "Owls", "side": "red", "pictures": "run"})
    (path.parent / "run").mkdir()
    save_poisons(path.parent / "run", *good)
    before = read_submission(path, LIMITED)
    assert before.what == "3 pictures made elsewhere"
    good.pictures[0] = (255 * train.x[3]).round()  # less than is allowed is allowed
    save_poisons(path.parent / "run", *good)
    assert read_submission(path, LIMITED).digest != before.digest


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (7, "pictures must name what lies beside the submission, not 7"),
        ("/etc", "must name what lies beside"),
        ("../run", "must name what lies beside"),
        ("", "must name what lies beside"),
        ("nowhere", "there are no pictures 'nowhere'"),
        ("link", "is a link, which is not followed"),
        ("text.txt", "is no folder and no zip"),
        ("linked", "'1.png' in 'linked' is a link, which is not followed"),
        ("bomb.tar.bz2", "is no folder and no zip"),
        ("endless.zip", "has more than 67,108,864 bytes"),
        ("long", "poisons.safetensors of 'long' has 1,073,741,824 bytes; the budget is"),
        ("elsewhere", "poisons.safetensors of 'elsewhere' is a link"),
        ("empty", "there are no pictures in 'empty'"),
        ("named", "names no training row: wanted is a run's folder"),
        ("large", "is over 100 pixels"),
        ("small", "is 9 × 10 in grey, and not 10 × 10 in grey"),
        ("colour", "is 10 × 10 in colour, and not"),
        ("many", "there are more than 3 pictures, which is the budget"),
        ("broken", "is no readable picture"),
    ],
)
def test_what_is_refused_is_named(tmp_path, name, words):
    (tmp_path / "link").symlink_to(Path("/etc"))
    (tmp_path / "text.txt").write_text("hello")
    for folder in (
        "empty",
        "named",
        "large",
        "small",
        "colour",
        "many",
        "broken",
        "linked",
        "long",
        "elsewhere",
    ):
        (tmp_path / folder).mkdir()
    Image.new("L", (10, 10)).save(tmp_path / "named" / "fox.png")
    Image.new("L", (11, 10)).save(tmp_path / "large" / "1.png")
    Image.new("L", (9, 10)).save(tmp_path / "small" / "1.png")
    Image.new("RGB", (10, 10)).save(tmp_path / "colour" / "1.png")
    (tmp_path / "broken" / "1.png").write_bytes(b"\x89PNG\r\n")
    for row in range(4):
        Image.new("L", (10, 10)).save(tmp_path / "many" / f"{row}.png")
    (tmp_path / "linked" / "1.png").symlink_to(tmp_path / "small" / "1.png")
    (tmp_path / "elsewhere" / "poisons.safetensors").symlink_to(tmp_path / "text.txt")
    for path, size in (("endless.zip", 1 << 27), ("long/poisons.safetensors", 1 << 30)):
        with (tmp_path / path).open("wb") as file:
            file.truncate(size)
    with tarfile.open(tmp_path / "bomb.tar.bz2", "w:bz2") as archive:
        archive.add(tmp_path / "small", "small")
    with pytest.raises(ValueError, match=words):
        read(tmp_path, name, LIMITED)


def test_pictures_that_two_hand_in_are_nobodys(folder, good):
    write(folder, "limits", LIMITS | {"named": NAMED})
    (folder / "submissions" / "run").mkdir()
    save_poisons(folder / "submissions" / "run", *good)
    write(folder, "owls", {"team": "Owls", "side": "red", "pictures": "run"})
    assert "Owls" in [t.team for t in open_contest(folder).teams]
    for name in ("run", "run/poisons", "run/"):
        write(folder, "crows", {"team": "Crows", "side": "red", "pictures": name})
        found = open_contest(folder)
        same = "crows.json and owls.json hand in the same pictures: leave one"
        assert found.refused == {"crows.json": same, "owls.json": same}
        assert [t.team for t in found.side("red")] == ["Foxes"]


def test_without_a_named_target_there_are_no_pictures(tmp_path):
    with pytest.raises(ValueError, match="name no target"):
        read(tmp_path, "run", replace(LIMITED, named=None))


def changed(good: Poisons, **parts) -> Poisons:
    return good._replace(**parts)


def test_all_that_the_limits_allow_is_taken_and_nothing_more(good, train):
    check(good, train, LIMITED)
    more = good.pictures.int()
    more[1, 0, 2, 2] += 1 if more[1, 0, 2, 2] > train.x[5, 0, 2, 2] * 255 else -1
    for wrong, words in (
        (changed(good, pictures=more.to(torch.uint8)), "row 5 moved by 27 levels of 255"),
        (changed(good, rows=torch.tensor([3, 5, 5])), "replaced twice"),
        (changed(good, rows=torch.tensor([3, 5, 60])), "no training picture 60, but 0 … 59"),
        (changed(good, rows=torch.tensor([-1, 5, 8])), "no training picture -1"),
        (changed(good, rows=good.rows[:2]), "one for each row"),
        (changed(good, pictures=good.pictures[..., :9]), "is 9 × 10|are 9 × 10"),
        (
            Poisons(good.pictures[[0, 0, 0, 0]], torch.arange(4)),
            "4 pictures are changed, and the budget is 3",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            check(wrong, train, LIMITED)
