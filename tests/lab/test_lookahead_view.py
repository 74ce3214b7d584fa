"""LookaheadLab's picture: each part appears when the film has come to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpkit.lab.kit.tools import Line
from mpkit.lab.lookahead_film import Ahead, Check, Cost, Home, make_scene
from mpkit.lab.lookahead_view import FURTHEST, UNKNOWN, LookaheadView, pushed, toward


@pytest.fixture
def view():
    found = LookaheadView()
    found.lay_out(make_scene("mlp", 0), 2)
    return found


def film(scene) -> list:
    noise = torch.randn(2, *scene.poisons.shape, dtype=torch.float64)
    return [
        Ahead(0, 3.0, 0.1), Ahead(1, 2.0, 0.2), Ahead(2, 1.0, 0.25),
        Home(1, 5.0, noise[1]), Home(0, 4.0, noise[0]),
        Check(2e-3, 2.1e-3), Check(-1e-3, -1e-3),
        Cost("reverse", 1, 10.0, 4.0), Cost("adjoint", 1, 20.0, 3.0),
    ]  # fmt: skip


def test_a_gradient_is_grey_where_there_is_none_and_goes_downhill():
    gradient = torch.zeros(3, 4, 4)
    assert (pushed(gradient) == 0.5).all()
    gradient[0, 0, 0] = 1.0
    picture = pushed(gradient)
    assert picture.shape == (4, 4, 3)
    assert picture[0, 0, 0] == 0.0
    assert (picture[1:] == 0.5).all()


def test_the_film_shows_as_much_as_there_is(view):
    records = film(view.scene)
    for count in range(len(records) + 1):
        view.update(records[:count], 0)
        assert len(view.line.get_xdata()) == min(count, 3)
        seen = [axes.image.get_visible() for axes in view.shares]
        assert seen == [count > 4, count > 3]  # step 2 comes home before step 1
        assert len(view.points.get_xdata()) == max(0, min(count - 5, 2))
        assert len(view.memory.bars) == len(view.time.bars) == max(0, count - 7)
    view.update(records[:4], 0)  # and back
    assert not view.memory.bars
    assert view.here.get_xydata().tolist() == [[1, 2.0]]  # the gradient stands at w_1
    view.update((), 0)
    assert len(view.line.get_xdata()) == 0


def test_each_poison_has_its_own_gradient(view):
    records = film(view.scene)
    seen = []
    for which in (0, 3):
        view.update(records, which)
        total = sum(r.share[which] for r in records[3:5])
        assert np.allclose(view.push.image.get_array(), pushed(total))
        assert np.allclose(view.shares[1].image.get_array(), pushed(records[3].share[which]))
        assert f"{toward(view.scene, records[3:5], which):.2f}" in view.push.note.get_text()
        seen.append(np.asarray(view.poison.image.get_array()))
    assert not np.array_equal(*seen)


def test_the_target_painted_downhill_is_like_the_target(view):
    target = view.scene.target
    share = (target.mean((2, 3), keepdim=True) - target).expand_as(view.scene.poisons)
    assert toward(view.scene, [Home(0, 1.0, share)], 0) > 0.9


def test_pictures_have_96_pixels_on_a_page_of_1024(view):
    view.lay_out(view.scene, FURTHEST)
    width = 850 / view.figure.bbox.width  # of the panel there
    pictures = [view.target, view.poison, view.push, *view.shares]
    assert min(axes.get_window_extent().width * width for axes in pictures) >= 96


def test_bars_are_as_high_as_what_was_measured(view):
    view.update(film(view.scene), 0)
    assert view.time.bars["adjoint", 1][0].get_height() == 20
    assert view.memory.bars["reverse", 1][0].get_height() == 4
    assert view.unknown.get_text() == ""
    view.update([Cost("reverse", 1, 10.0, None)], 0)
    assert view.unknown.get_text() == "\n".join(UNKNOWN)
    assert not view.memory.bars


def test_points_of_a_right_gradient_lie_on_the_diagonal_whatever_their_size(view):
    for scale in (1e-9, 1.0, 300.0):
        view.update([Check(2 * scale, 2 * scale), Check(-scale, -scale)], 0)
        xs, ys = view.points.get_data()
        assert np.allclose(xs, ys)
        assert view.checks.get_xlim()[1] > max(xs) > 0.5
    view.update([Check(0.0, 0.0)], 0)


def test_losses_lie_within_the_limits(view):
    view.compare([Line("last run", [0, 1], [-7.0, 2.0])])
    view.update(film(view.scene), 0)
    low, high = view.film.get_ylim()
    assert low < -7
    assert high > 3
    view.show_guess(1)
    assert list(view.guess.get_xdata()) == [1, 1]
