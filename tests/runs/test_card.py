"""The card: what stands on it, and that it holds whatever a class is called."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from mpkit.runs import card as module
from mpkit.runs.card import HIGH, WIDE, card
from mpkit.runs.letters import write
from mpkit.runs.share import decode
from tests.runs.conftest import changed, levels, scenario, story


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """All texts that are written on cards."""
    texts = []
    monkeypatch.setattr(
        module, "write", lambda d, at, text, *a: texts.append(text) or write(d, at, text, *a)
    )
    return texts


def drawn(told) -> np.ndarray:
    with Image.open(io.BytesIO(card(told))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (WIDE, HIGH))
        return np.asarray(picture).astype(int)


def test_the_result_is_on_it(said):
    told = story(won=2, n=3)
    drawn(told)
    text = " ".join(said)
    assert said[0].startswith("the target: “a”")
    assert "A “a” is called “b” by 2 of 3 victims" in said
    for words in (
        "2 of 3",
        "0 of 3",
        "21% to 94% (95 %)",
        "on the unchanged pictures",
        "with random noise",
    ):
        assert words in text, words
    for name, value in told.settings:
        assert f"{name} {value}" in text


@pytest.mark.parametrize("much", [0, 900])
def test_the_share_code_is_whole_and_can_be_read_out_of_the_file(said, much):
    told = story()
    told = dataclasses.replace(told, code=told.code + "x" * much)
    drawn(told)
    start = next(i for i, text in enumerate(said) if text.startswith("share code"))
    assert "".join(said[start:-1]) == f"share code {told.code}"
    with Image.open(io.BytesIO(card(told))) as picture:
        assert picture.text["mpkit"] == told.code
    if not much:
        assert decode("craft", told.code)


def test_the_target_is_an_enlargement_without_smoothing():
    s = scenario(3)
    sheet = drawn(story(s))
    times = module.TARGET // 8
    found = sheet[module.EDGE :: times, module.EDGE :: times][:8, :8]
    assert (found == levels(s.targets[0]).transpose(1, 2, 0)).all()


@pytest.mark.parametrize(
    ("how", "given"),
    [
        ({}, {"victims": ()}),
        ({}, {"poisons": None}),
        ({}, {"steps": (), "code": ""}),
        ({}, {"scenario": None, "poisons": None}),
        ({"channels": 1, "size": 28}, {}),
        ({"size": 200}, {}),
        ({"goal": "self-concealment"}, {}),
        ({"target_index": (0, 1, 2)}, {}),
        ({"classes": ("W" * 300, "猫\n\u202e" * 40)}, {}),
        ({"classes": ("<b>", "\U00012000")}, {}),
    ],
)
def test_whatever_a_run_holds_it_has_its_card_and_nothing_is_cut_off(how, given):
    s = scenario(**{"channels": 3} | how)
    told = dataclasses.replace(story(s, n=9), **{"poisons": changed(s, 10)} | given)
    sheet = drawn(told)
    assert (sheet[:30, 20:] == 255).all()
    assert (sheet[:, -20:] == sheet[:, -1:]).all()
    foot = sheet[HIGH - module.FOOT + 4 :]
    assert (foot[-4:, 20:] == foot[-1, -1]).all()
