"""Cells, words and parts of a sheet of paper."""

from __future__ import annotations

import numpy as np
import pytest

from mpkit.runs.sheet import cell


@pytest.mark.parametrize("side", [1, 5, 7, 8, 20, 28, 32, 48, 64, 80, 95, 96, 100, 128, 200, 500])
@pytest.mark.parametrize("about", [128, 160])
def test_no_cell_is_small_or_huge(side, about):
    picture = cell(np.zeros((3, side, side)), about)
    assert min(picture.size) >= 96
    assert max(picture.size) <= 1.5 * about
