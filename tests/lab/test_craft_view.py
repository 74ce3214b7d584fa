"""CraftLab's picture."""

from __future__ import annotations

from mpkit.lab import CraftLab


def test_the_strip_turns_its_pages(small):
    lab = small(CraftLab, budget=0.4)
    assert lab.view.strip.pages == 3
    first = lab.view.strip.image.get_array().copy()
    lab.page.slider.value = 3
    assert lab.view.strip.title.get_text() == "poisons 21–24 of 24"
    assert (lab.view.strip.image.get_array() != first).any()
