"""A run's page: opened as a file, with the network off, and played to its end."""

from __future__ import annotations

import dataclasses
import re

import pytest
from server import expect

from mpkit.runs.page import page as page_of
from tests.runs.conftest import scenario, story

GONE = {"scenario": None, "missing": "gone"}
NASTY = "</script><img src=x onerror=document.body.dataset.stung=1>"


@pytest.fixture(params=["light", "dark"])
def opened(request, browser, tmp_path):
    """``opened(story)``: its page in a browser that is offline, and what it asked for and said."""
    contexts = []

    def show(told, **size):
        (tmp_path / "run.html").write_text(page_of(told), encoding="utf-8")
        viewport = {"width": 1440, "height": 900} | size
        contexts.append(
            browser.browser.new_context(offline=True, color_scheme=request.param, viewport=viewport)
        )
        page, page_asks, page_says = contexts[-1].new_page(), [], []
        page.on("request", lambda r: page_asks.append(r.url))
        page.on("console", lambda message: page_says.append(message.text))
        page.on("pageerror", lambda error: page_says.append(str(error)))
        page.goto((tmp_path / "run.html").as_uri())
        page.wait_for_selector("body[data-ready]")
        page.asks, page.says = page_asks, page_says
        return page

    yield show
    for context in contexts:
        context.close()


def when(page):
    return page.locator("#when")


def test_it_plays_to_its_end_and_asks_for_nothing(opened):
    page = opened(story(frames=True, steps=6))
    expect(when(page)).to_have_text("victim 3 of 3")  # the result, before anything is pressed
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(when(page)).to_have_text(re.compile("craft step"))
    expect(page.get_by_role("button", name="Again")).to_be_visible(timeout=60_000)
    expect(when(page)).to_have_text("victim 3 of 3")
    expect(page.locator(".count").first).to_contain_text("2 of 3")
    expect(page.locator("#said")).to_contain_text("trained on the poisons: 2 of 3 call it “b”")
    assert [url for url in page.asks if not url.startswith(("file:", "data:"))] == []
    assert page.says == []


def test_time_is_scrubbed_by_mouse_and_by_keyboard(opened):
    page = opened(story(frames=True, steps=6))
    slider = page.get_by_role("slider", name="Time in the run")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    expect(when(page)).to_have_text("before the first step")
    page.keyboard.press("ArrowRight")
    expect(when(page)).to_have_text("craft step 1 of 6")
    expect(slider).to_have_attribute("aria-valuetext", "craft step 1 of 6")
    page.get_by_role("button", name="One step on").click()
    expect(when(page)).to_have_text("craft step 2 of 6")
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.press("End")
    expect(when(page)).to_have_text("victim 3 of 3")
    page.keyboard.press("ArrowLeft")
    expect(when(page)).to_have_text("victim 2 of 3")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_pictures_words_and_losses_follow_the_time(opened):
    page = opened(story(frames=True, steps=6))
    change, poison = page.locator(".column canvas").nth(1), page.locator(".column canvas").nth(2)
    drawn = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 8, 8).data].join()"
    page.locator("#time").fill("0")
    before = poison.evaluate(drawn)
    assert set(change.evaluate(drawn).split(",")) == {"128", "255"}  # grey: nothing is changed
    page.locator("#time").fill("4")
    words = re.compile("of craft step 4, still labelled “b”")
    expect(poison).to_have_attribute("aria-label", words)
    expect(change).to_have_attribute("aria-label", re.compile("by up to 12 of 255 levels"))
    assert poison.evaluate(drawn) != before
    told = page.locator("#losses svg")
    expect(told).to_have_attribute("aria-label", re.compile("After craft step 4 of 6"))
    expect(page.locator(".count").first).to_have_text("–")
    for picture in page.locator("img, [role=img]").all():
        assert picture.get_attribute("alt") or picture.get_attribute("aria-label")


def test_a_name_is_text_and_nothing_else(opened):
    page = opened(story(scenario(3, classes=(NASTY, "b"))))
    expect(page.locator("h1")).to_contain_text("onerror=document")
    assert page.locator("img").count() == 1
    assert page.evaluate("() => document.body.dataset.stung") is None
    assert page.says == []


def test_a_failure_says_why_at_its_end(opened):
    page = opened(story(won=0))
    expect(page.locator("#why")).to_contain_text("Why it failed: ")
    page.locator("#time").fill("1")
    expect(page.locator("#why")).to_be_hidden()


@pytest.mark.parametrize("given", [{"victims": ()}, {"steps": ()}, GONE, {"poisons": None}])
def test_a_run_of_which_something_is_missing_has_its_page(opened, given):
    page = opened(dataclasses.replace(story(frames=False), **given))
    page.locator("#time").fill("1")
    assert page.says == []


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_nothing_is_wider_than_the_screen_and_axe_finds_nothing_serious(opened, width):
    page = opened(story(won=0, frames=True), width=width)
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
