"""CraftLab's picture."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab import CraftLab
from mpkit.lab.craft_view import CraftView
from mpkit.metapoison import CraftRecord
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import finished, small_attack


def test_the_gallery_turns_its_pages(small):
    lab = small(CraftLab, budget=0.4)
    assert lab.exhibit.gallery.pages == 4
    first = lab.exhibit.gallery.bases
    lab.page.slider.value = 4
    assert "poisons 19 to 24 of 24" in lab.exhibit.gallery.label
    assert lab.exhibit.gallery.bases != first


def test_the_gallery_shows_the_poisons_of_the_moment_and_what_moved_them(small, until):
    lab = small(CraftLab)
    target = (255 * lab.scenario.targets[0]).round().to(torch.uint8)
    assert lab.exhibit.gallery.target == target.numpy().tobytes()
    finished(lab, until)
    gallery = lab.exhibit.gallery
    assert gallery.poisons == lab.poisons()[:6].numpy().tobytes() != gallery.bases
    assert gallery.captions == [f"{rise:+.2g}" for rise in lab.state.pull.influence.tolist()[:6]]
    assert "\ncalled" in gallery.words["target"]
    assert f"like the target by {gallery.likeness:.2f}" in lab.describe()


@pytest.mark.parametrize("large", [False, True])
def test_a_view_shows_the_losses_and_what_surrogates_say(large):
    scenario = load_scenario(small_attack(), progress=False)
    view = CraftView(large)
    view.lay_out(scenario, 6, 3)
    assert view.losses.axes.get_xlim() == (0, 6.5)
    view.update([CraftRecord(1, 2.0, (1.0, 3.0), (0, 1), 0.1, 0, 2, 0, 0.1)], [], [0.25, 0.75])
    assert [bar.get_width() for bar in view.bars.bars] == [0.25, 0.75]
    assert list(view.losses.mean.get_ydata()) == [2.0]


def test_everything_that_moves_is_told():
    view = CraftView()
    view.lay_out(load_scenario(small_attack(), progress=False), 6, 3)
    moving = view.moving()
    assert view.losses.mean in moving
    assert set(view.bars.bars) <= set(moving)
