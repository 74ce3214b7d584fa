"""CraftLab's picture."""

from __future__ import annotations

import numpy as np
import pytest

from mpkit.lab import CraftLab
from mpkit.lab.craft_view import CraftView
from mpkit.metapoison import CraftRecord
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import small_attack


def test_the_strip_turns_its_pages(small):
    lab = small(CraftLab, budget=0.4)
    assert lab.view.strip.pages == 3
    first = lab.view.strip.image.get_array().copy()
    lab.page.slider.value = 3
    assert lab.view.strip.title.get_text() == "poisons 21–24 of 24"
    assert (lab.view.strip.image.get_array() != first).any()


@pytest.mark.parametrize("large", [False, True])
def test_a_view_shows_the_target_the_losses_and_the_bases(large):
    scenario = load_scenario(small_attack(), progress=False)
    view = CraftView(large)
    view.lay_out(scenario, 6, 3, 0.1)
    assert view.losses.axes.get_xlim() == (0, 6.5)
    face = view.figure.axes[2]
    assert np.allclose(np.asarray(face.images[0].get_array()).squeeze(), scenario.targets[0][0])
    assert face.get_title() == "target: 1"
    view.update([CraftRecord(1, 2.0, (1.0, 3.0), (0, 1), 0.1, 0, 2, 0, 0.1)], [], [0.25, 0.75])
    assert [bar.get_width() for bar in view.bars.bars] == [0.25, 0.75]
    assert list(view.losses.mean.get_ydata()) == [2.0]


def test_a_page_that_is_no_longer_there_is_the_last_one():
    view = CraftView()
    view.lay_out(load_scenario(small_attack(budget=0.4), progress=False), 6, 3, 0.1)
    view.page = 2
    view.lay_out(load_scenario(small_attack(), progress=False), 6, 3, 0.1)
    assert view.page == 0
    assert view.strip.title.get_text() == "poisons 1–6 of 6"


def test_everything_that_moves_is_told():
    view = CraftView()
    view.lay_out(load_scenario(small_attack(), progress=False), 6, 3, 0.1)
    moving = view.moving()
    assert view.strip.image in moving
    assert view.losses.mean in moving
    assert set(view.bars.bars) <= set(moving)
