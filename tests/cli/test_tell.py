"""mpkit card and mpkit page, from a run's folder."""

from __future__ import annotations

import pytest
from PIL import Image

from mpkit.data.places import SHIPPED
from tests.cli.conftest import call, refused

RECORDED = SHIPPED / "recorded" / "cifar10-three-classes"


def test_a_card_and_a_page_lie_in_the_folder_of_the_run(copy):
    said = call("card", copy)
    assert (said.code, said.out) == (0, f"{copy / 'card.png'}\n")
    with Image.open(copy / "card.png") as picture:
        assert picture.size == (1200, 675)
    said = call("page", copy)
    assert (said.code, said.out) == (0, f"{copy / 'page.html'}\n")
    assert (copy / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("kind", ["card", "page"])
def test_they_go_where_they_are_to_go(kind, copy, tmp_path):
    out = tmp_path / "mein bild 猫"
    assert call(kind, copy, "--out", out).code == 0
    assert out.stat().st_size > 1000
    assert not list(copy.glob("card.png")) + list(copy.glob("page.html"))


@pytest.mark.parametrize("kind", ["card", "page"])
def test_what_is_no_run_is_refused_in_one_line(kind, tmp_path):
    assert "is no run folder" in refused(kind, tmp_path)
    assert "name another place" in refused(kind, RECORDED, "--out", tmp_path)


def test_a_run_without_its_pictures_says_so_and_is_told(tmp_path):
    said = call("page", RECORDED, "--out", tmp_path / "page.html")
    assert said.code == 0
    assert "The pictures of this run are not here" in said.err
    assert "--data" in said.err
