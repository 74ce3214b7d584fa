"""Pictures that are pressed: what is sent to the browser, and what may come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpkit.lab.kit.gallery import Gallery, Pictures, levels, magnified

BASES = torch.linspace(0, 1, 5 * 3 * 4 * 6).reshape(5, 3, 4, 6)
TARGET = torch.zeros(3, 4, 6)
TARGET[:, 1:3, 2:4] = 1


@pytest.fixture
def gallery(heard):
    found = Gallery(heard.append, columns=2)
    found.lay_out(TARGET, BASES, "stop", list("abcde"))
    yield found
    found.close()


def sent(data: bytes, shape=(3, 4, 6)) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(-1, *shape)


def test_pictures_are_sent_as_their_levels_plane_after_plane(gallery):
    assert gallery.shape == [3, 4, 6]
    assert (sent(gallery.target)[0] == 255 * TARGET.numpy()).all()
    assert (sent(gallery.bases) == levels(BASES[:2]).numpy()).all()
    assert gallery.poisons == gallery.bases
    assert (sent(gallery.mean) == 128).all()
    assert gallery.kinds == ["a", "b"]


def test_only_the_page_that_is_turned_to_is_sent(gallery):
    poisons = levels(BASES).flip(0)
    assert gallery.pages == 3
    gallery.turn(2)
    gallery.show(poisons, 0.1)
    assert gallery.page == slice(4, 5)
    assert (sent(gallery.poisons) == poisons[4:].numpy()).all()
    assert (sent(gallery.bases) == levels(BASES[4:]).numpy()).all()
    gallery.turn(9)
    assert gallery.page == slice(4, 5)
    gallery.lay_out(TARGET, BASES[:2], "stop", ["a", "b"])  # fewer: the last page there is
    assert gallery.page == slice(0, 2)


def test_the_mean_change_is_compared_with_the_target(gallery):
    change = 8 * (TARGET > 0).to(torch.int16)
    bases = torch.full_like(BASES, 0.5)
    gallery.lay_out(TARGET, bases, "stop", list("abcde"))
    gallery.show((levels(bases) + change).to(torch.uint8), 8 / 255)
    seen = TARGET - TARGET.mean((1, 2), keepdim=True)
    expected = (seen * TARGET).sum() / (seen.norm() * TARGET.norm())
    assert gallery.likeness == pytest.approx(float(expected))
    assert f"{gallery.likeness:.2f}" in gallery.words["likeness"]
    assert (sent(gallery.mean)[0] == np.where(TARGET.numpy() > 0, 255, 128)).all()
    assert gallery.factor == pytest.approx(255 / 16)  # ε is black or white
    gallery.show(levels(bases), 8 / 255)
    assert gallery.likeness == 0


def test_a_press_is_told_and_what_no_browser_sends_is_not(gallery, heard):
    for said in ({"pick": 4}, {"pick": 5}, {"pick": -1}, {"pick": "2"}, {"pick": True}, {}):
        gallery._handle_custom_msg(said, [])
    assert heard == [4]


def test_nothing_grows_out_of_no_change():
    picture, factor = magnified(torch.zeros(1, 2, 2))
    assert (picture == 0.5).all()
    assert factor < 2000


def test_a_row_can_be_pressed_where_it_may(heard):
    row = Pictures("sizes", heard.append)
    row.show(BASES[:3], ["1", "2", "3"], ["one", "two", "three"], 1)
    assert (row.pressable, row.picked, row.total) == (True, 1, 3)
    row.press(2)
    row.enabled = False
    row.press(0)
    assert heard == [2]
    assert not Pictures("sizes").pressable
