"""``mpkit pictures``, and an attack on what it made, which says whether it can succeed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import call, refused
from tests.data.conftest import pack
from tests.data.test_gather import phone

SHORT = ("--scale", "ci", "--epochs", "12", "--lr", "0.05", "--n-train", "24", "--quiet")


def test_photographs_become_a_data_set_in_one_command(tmp_path):
    pack(tmp_path, phone(n=16) | {"dog/x.jpg": b"oh"}, name="my photos")
    said = call("pictures", "my photos", "--out", "my pets")
    assert said.code == 0
    assert said.out.splitlines() == [
        "my pets: the square in the middle of each picture, 32 × 32 pixels",
        "  cat: 12 to train on, 4 to test on",
        "  dog: 13 to train on, 3 to test on",
    ]
    assert "mpkit: 1 could not be read and are left out" in said.err
    assert said.err.endswith("Attack it with: mpkit attack --data 'my pets'\n")
    run = call("attack", "--data", "my pets", "--out", "run", *SHORT[:-1])
    assert run.code == 0
    assert "8 clean models are right on 100% of the 7 test pictures (guessing: 57%)" in run.err
    assert "an attack can succeed here" in run.err
    assert Path("run/summary.png").exists()
    said = call("targets", "--data", "my pets", *SHORT)
    assert "an attack can succeed here" in said.err
    slow = call(
        "attack", "--data", "my pets", "--out", "slow", "--scale", "ci", "--fine-tune", "no"
    )
    assert "mpkit targets trains clean models on these data, and says what can" in slow.err


def test_an_attack_where_nothing_can_be_learnt_says_so(tmp_path):
    draw = np.random.default_rng(0)
    for split, n in (("train", 20), ("test", 12)):
        for name in ("cat", "dog"):
            Path("noise", split, name).mkdir(parents=True)
            for i in range(n):
                pixels = draw.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(f"noise/{split}/{name}/{i}.png")
    said = call("attack", "--data", "noise", "--out", "run", *SHORT[:-1])
    assert "They hardly tell the classes apart, so an attack shows nothing here" in said.err


def test_refusals_are_one_line(tmp_path):
    pack(tmp_path, phone(n=4), name="photos")
    assert "no folder and no plain file" in refused("pictures", "gone", "--out", "x")
    assert "is there already" in refused("pictures", "photos", "--out", "photos")
    assert "size must lie" in refused("pictures", "photos", "--out", "x", "--size", "2")
    assert "no whole number" in refused("pictures", "photos", "--out", "x", "--size", "big")


def test_a_note_is_a_line_of_the_command(tmp_path):
    files = phone(n=8) | {"cat/z.txt": b"", "dog/z.txt": b""}
    for name, split in (("train", range(6)), ("test", range(6, 8))):
        kept = {k: v for k, v in files.items() if k[-5] == "z" or int(k[-5]) in split}
        pack(tmp_path / "all", {f"{name}/{k}": v for k, v in kept.items()}, name="pets")
    for image in (tmp_path / "all").rglob("*.JPG"):
        with Image.open(image) as opened:
            opened.resize((32, 32)).save(image)
    with pytest.warns(UserWarning, match="4 files are ignored, such as") as said:
        call("attack", "--data", "all/pets", "--out", "run", *SHORT[:6], "--target-index", "0")
    from mpkit.__main__ import _in_words

    assert _in_words(said[0].message, UserWarning, "x.py", 3) == f"mpkit: {said[0].message}\n"
