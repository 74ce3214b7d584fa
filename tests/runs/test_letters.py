"""Text on pictures in letters of Pillow's font, of the system's fonts, and of none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mpkit.runs import letters
from mpkit.runs.letters import OWN, width, write, written
from tests.fonts import found_anew, square_font

INK = (0, 0, 0)


@pytest.fixture
def known():
    """What is known of fonts is found anew, here and afterwards."""
    with found_anew(letters._font, letters._has, letters._name_for):
        yield


@pytest.fixture
def no_fonts(known, monkeypatch):
    monkeypatch.setattr(letters, "FONTS", ())


def drawn(text: str, anchor: str = "la", at=(10, 10)) -> np.ndarray:
    sheet = Image.new("L", (400, 60), 255)
    write(ImageDraw.Draw(sheet), at, text, 20, 0, anchor)
    return np.asarray(sheet)


def test_english_is_pillows_own(known):
    sheet = Image.new("L", (400, 60), 255)
    ImageDraw.Draw(sheet).text((10, 10), "A “cat” is called “dog” …", 0, ImageFont.load_default(20))
    assert (drawn("A “cat” is called “dog” …") == np.asarray(sheet)).all()
    assert width("abc", 20) == ImageFont.load_default(20).getlength("abc")


def test_without_any_font_letters_lose_accents_or_become_numbers(no_fonts):
    assert written("Kätzchen\n") == "Katzchen"
    assert written("δ 猫") == "[U+03B4] [U+732B]"
    assert drawn(written("猫")).min() == 0


def test_a_text_is_drawn_in_a_font_that_has_all_of_it(known):
    pytest.importorskip("matplotlib")  # which brings one
    assert written("Kätzchen × кот δ") == "Kätzchen × кот δ"
    ((font, part),) = letters._parts("Kätzchen × кот δ", 20)
    assert (font.getname()[0], part) == ("DejaVu Sans", "Kätzchen × кот δ")


def test_a_letter_of_another_font_is_drawn_with_that_alone(known, monkeypatch, tmp_path):
    font = square_font(tmp_path / "clay.ttf", 0x12000)
    monkeypatch.setattr(letters, "FONTS", (str(font),))
    assert written("ab \U00012000 é") == "ab \U00012000 e"
    fonts = [font.getname()[0] for font, _ in letters._parts("ab \U00012000", 20)]
    assert fonts == ["Aileron", "Clay"]
    plain, mixed = drawn("ab "), drawn("ab \U00012000")
    new = np.argwhere(plain != mixed)
    assert new[:, 1].min() >= 10 + width("ab ", 20) - 1
    assert (mixed[mixed != plain] < 100).mean() > 0.8  # a black square
    low = new[:, 0].max()
    assert abs(low - np.argwhere(plain < 128)[:, 0].max()) <= 1  # on the same line


@pytest.mark.parametrize("anchor", ["la", "ma", "lm", "mm"])
def test_anchors_are_pillows(anchor, known):
    sheet = Image.new("L", (400, 60), 255)
    font = ImageFont.load_default(20)
    ImageDraw.Draw(sheet).text((100, 30), "Hxg", 0, font, anchor=anchor)
    wanted, found = (
        np.argwhere(a < 128) for a in (np.asarray(sheet), drawn("Hxg", anchor, (100, 30)))
    )
    assert abs(wanted.min(0) - found.min(0)).max() <= 1
    assert abs(wanted.max(0) - found.max(0)).max() <= 1


def test_a_font_that_is_not_here_is_passed_over(known):
    assert letters._font("no such font.ttf", 20) is None
    assert not letters._has("no such font.ttf", "a")
    assert letters._name_for("a") == OWN
