"""Cells, words and parts of a sheet of paper."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.runs.sheet import INK, MUTED, PAPER, beside, cell, levels, lines, picture_tag, stacked


@pytest.mark.parametrize("side", [1, 5, 7, 8, 20, 28, 32, 48, 64, 80, 95, 96, 100, 128, 200, 500])
@pytest.mark.parametrize("about", [128, 160])
def test_no_cell_is_small_or_huge(side, about):
    picture = cell(np.zeros((3, side, side)), about)
    assert min(picture.size) >= 96
    assert max(picture.size) <= 1.5 * about


def block(width: int, height: int, colour) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def test_pixels_become_squares():
    picture = np.array([[[0, 255], [128, 64]]])
    seen = np.asarray(cell(picture))
    side = len(seen) // 2
    assert seen.shape == (2 * side, 2 * side, 3)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert (
            seen[y * side : (y + 1) * side, x * side : (x + 1) * side] == picture[0, y, x]
        ).all()


def test_levels_beyond_black_and_white_are_clipped():
    seen = np.asarray(cell(np.array([[[-50.0, 300.0]]])))
    assert set(seen.flatten()) == {0, 255}


def test_colours_keep_their_places():
    picture = np.zeros((3, 4, 4))
    picture[1] = 200
    assert tuple(np.asarray(cell(picture))[0, 0]) == (0, 200, 0)


def test_levels_are_rounded():
    assert levels(torch.tensor([[[0.0, 1.0, 0.5]]])).tolist() == [[[0, 255, 128]]]


def test_parts_stand_beside_and_under_one_another():
    red, blue = block(30, 10, (255, 0, 0)), block(20, 40, (0, 0, 255))
    row = np.asarray(beside(red, blue, 5))
    assert row.shape == (40, 55, 3)
    assert tuple(row[0, 0]) == (255, 0, 0)
    assert tuple(row[39, 54]) == (0, 0, 255)
    assert tuple(row[39, 0]) == tuple(row[0, 32]) == PAPER
    column = np.asarray(stacked([red, blue, red], 5))
    assert column.shape == (70, 30, 3)
    assert [tuple(column[y, 0]) for y in (0, 12, 15, 60)] == [
        (255, 0, 0), PAPER, (0, 0, 255), (255, 0, 0),
    ]  # fmt: skip


def test_lines_of_text_are_as_wide_and_high_as_they_need():
    one = lines([("a line", 17, INK)])
    longer = lines([("a line that is longer", 17, INK)])
    two = lines([("a line", 17, INK), ("a line", 17, MUTED)], gap=6)
    assert longer.width > one.width == two.width
    assert two.height == 2 * one.height + 6
    assert (np.asarray(one) < 128).any()
    assert (np.asarray(one)[:, -1] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_in_html_is_the_picture_with_words(channels):
    picture = torch.rand(channels, 3, 5, generator=torch.Generator().manual_seed(0))
    tag = picture_tag(picture, 'a "7" & <b>', 60)
    assert 'alt="a &quot;7&quot; &amp; &lt;b&gt;"' in tag
    assert "width:60px" in tag
    data = base64.b64decode(re.search('base64,([^"]*)"', tag)[1])
    seen = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)
    wanted = (255 * picture).round().byte().expand(3, 3, 5).numpy()
    assert (seen == wanted).all()
