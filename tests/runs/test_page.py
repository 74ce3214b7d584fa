"""The page of a run: what is in it, what it may do, and what no name can make of it. How it plays:
tests/browser/test_page.py."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from mpkit.runs.page import page
from tests.conftest import ROOT
from tests.runs.conftest import changed, levels, scenario, story


def data(text: str) -> dict:
    """What stands in a page as JSON."""
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text)
    return json.loads(found)


def pixels(uri: str) -> np.ndarray:
    """(H, W, 3) levels of a picture in the page."""
    assert uri.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def rgb(picture: np.ndarray) -> np.ndarray:
    return np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_holds_losses_pictures_of_every_step_and_victims(channels):
    s = scenario(channels)
    found = data(page(story(s, frames=True)))
    assert [step["loss"] for step in found["steps"]] == [2.0, 1.0, 0.0, -1.0]
    shown, high = found["pictures"], 8
    assert shown["frames"] == [1, 2, 3, 4]
    assert (pixels(shown["target"]) == rgb(levels(s.targets[0]))).all()
    assert (pixels(shown["bases"])[:, 8:16] == rgb(levels(s.base_images)[1])).all()
    third = pixels(shown["poisons"])[2 * high : 3 * high, 8:16]
    assert (third == rgb(changed(s, 9)[1].numpy())).all()
    assert len(shown["alike"]) == len(shown["factors"]) == 4
    arm = found["arms"][0]
    assert [rate[:2] for rate in arm["rates"]] == [[1, 1], [2, 2], [2, 3]]
    assert arm["chances"] == [0.9, 0.9, 0.2]


@pytest.mark.parametrize(
    "given",
    [
        {"victims": ()}, {"poisons": None}, {"steps": ()}, {"scenario": None, "missing": "gone"},
        {"scenario": None, "poisons": None, "victims": (), "steps": ()}, {"code": ""},
    ],
)  # fmt: skip
def test_it_is_made_of_what_there_is(given):
    found = data(page(dataclasses.replace(story(), **given)))
    assert (found["pictures"] is None) == ("scenario" in given)
    assert bool(found["arms"]) == ("victims" not in given)
    if "poisons" in given and "scenario" not in given:
        assert found["pictures"]["frames"] is None


def test_without_frames_the_finished_poisons_stand_there():
    found = data(page(story(scenario(3, poisons=20))))["pictures"]
    assert (found["frames"], found["columns"], found["many"]) == ([4], 8, 20)


def test_losses_that_are_no_numbers_are_written_as_words():
    told = story()
    last = dataclasses.replace(told.steps[-1], loss=float("nan"), losses=(float("inf"), 1.0))
    found = data(page(dataclasses.replace(told, steps=[*told.steps[:-1], last])))
    assert found["steps"][-1] == {"loss": "nan", "losses": ["inf", 1.0]}


def test_large_pictures_are_scaled_down():
    found = data(page(story(scenario(3, size=200), frames=True)))["pictures"]
    assert pixels(found["target"]).shape == (128, 128, 3)
    assert pixels(found["poisons"]).shape == (4 * 128, 4 * 128, 3)


NASTY = "</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "names",
    [
        (NASTY, "b"),
        ("<!--<script>", "[[data]]"),
        ("[[title]]", "\\"),
        ('"', "'"),
        ("\u2028", "&amp;\u202e"),
    ],
)
def test_no_name_becomes_part_of_the_page(names):
    clean, told = page(story()), page(story(scenario(3, classes=names)))
    assert len(re.findall("<", told)) == len(re.findall("<", clean))
    assert told.count("<script") == 2
    assert NASTY not in told
    assert data(told)["names"][0] == " ".join(names[0].split())


def test_only_its_own_script_may_run_and_nothing_may_be_fetched():
    text = page(story(frames=True))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    found = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{found}'", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    assert re.findall(r"https?://[^\"'\s]+", text) == ["http://www.w3.org/2000/svg"]  # a name
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|innerHTML|\beval\b", text)
    assert set(re.findall(r'(?:src|href)="([^"]*)"', text)) == {"data:,"}


def test_the_page_that_the_readme_links_to_is_as_pages_are_now():
    assert "(docs/run.html)" in (ROOT / "README.md").read_text("utf-8")
    shipped, now = (ROOT / "docs" / "run.html").read_text("utf-8"), page(story())
    assert shipped.partition("<script>")[2] == now.partition("<script>")[2]
    assert len(data(shipped)["pictures"]["frames"]) == 40
    assert "8 of 8" in data(shipped)["title"]


def test_the_same_run_gives_the_same_page():
    assert page(story(frames=True)) == page(story(frames=True))


def test_a_failure_says_why_and_a_success_does_not():
    assert data(page(story(won=1)))["why"].startswith("Why it failed: ")
    assert data(page(story(won=3)))["why"] == ""
