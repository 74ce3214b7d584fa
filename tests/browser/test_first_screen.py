"""The first screen of the course: what a person sees who has just opened chapter 00."""

from __future__ import annotations

import shutil

import pytest
from server import ROOT, Notebook

OPENING = "img[alt^='On the left a stop sign']"


@pytest.fixture
def chapter(desk, jupyter):
    """``chapter(width, height)`` opens chapter 00 on a screen of that size; nothing is run."""
    shutil.copytree(ROOT / "notebooks" / "pictures", jupyter.root / "pictures", dirs_exist_ok=True)
    shutil.copy(ROOT / "notebooks" / "00-start-here.ipynb", jupyter.root)

    def opened(*screen: int) -> Notebook:
        book = desk.open("00-start-here.ipynb", screen=screen)
        book.page.wait_for_function(f'document.querySelector("{OPENING}")?.naturalWidth > 0')
        return book

    return opened


def box(page, selector: str) -> dict:
    """Where the first that is found lies on the screen."""
    found = page.locator(selector).first
    found.wait_for()
    return found.bounding_box()


@pytest.mark.parametrize(("width", "height", "least"), [(1440, 900, 880), (1024, 768, 560)])
def test_the_first_screen_shows_the_result_and_says_it_in_a_sentence(chapter, width, height, least):
    page = chapter(width, height).page
    picture, title = box(page, OPENING), box(page, ".jp-Notebook h1")
    sentence, status = box(page, ".jp-Notebook p strong"), box(page, "#jp-main-statusbar")
    assert 0 < title["y"] < sentence["y"] < picture["y"]
    assert picture["y"] + picture["height"] <= status["y"]  # all of it, without scrolling
    assert picture["x"] + picture["width"] <= width
    assert picture["width"] >= least
    assert box(page, ".jp-CodeCell")["y"] > picture["y"] + picture["height"]
    words = page.locator(".jp-Notebook p strong").first.inner_text()
    assert "stop sign" in words
    assert "speed 50" in words


def test_the_set_up_is_folded_and_can_be_unfolded(chapter):
    cell = chapter(1440, 900).page.locator(".jp-CodeCell").first
    code, folded = cell.locator(".cm-content"), cell.locator(".jp-InputPlaceholder")
    cell.scroll_into_view_if_needed()
    folded.wait_for()
    assert not code.count() or not code.is_visible()
    folded.click()
    code.wait_for()
    assert "begin(" in code.inner_text()
