"""CollisionLab's picture: base, change, poison, target, and all as the network sees them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpkit.functional import init
from mpkit.lab.collision_view import CollisionView
from mpkit.lab.kit.tools import Line
from mpkit.networks import network
from mpkit.runs.ghost import likeness
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import small_attack


@pytest.fixture
def scenario():
    return load_scenario(small_attack(), progress=False)


@pytest.fixture
def view(scenario):
    view = CollisionView()
    view.lay_out(scenario, 7)
    return view


def shown(view) -> np.ndarray:
    """The four pictures, in [0, 1]."""
    return np.frombuffer(view.faces.pixels, np.uint8).reshape(4, *view.faces.shape[1:]) / 255


def test_four_pictures_stand_side_by_side(view, scenario):
    base, target = scenario.base_images[0], scenario.targets[0]
    poison = base.clone()
    poison[0, 2, 3] += 0.2 if poison[0, 2, 3] < 0.5 else -0.2
    view.update(poison, ([0, 1], [4.0, 3.0]), [(0.5, "β 0 → 1")])
    pictures = shown(view)
    for found, wanted in ((0, base), (2, poison), (3, target)):
        assert np.allclose(pictures[found], wanted[0], atol=1 / 510)
    change = pictures[1]
    assert abs(change[2, 3] - 0.5) == pytest.approx(0.5, abs=0.01)  # the largest is black or white
    rest = np.ones_like(change, bool)
    rest[2, 3] = False
    assert np.allclose(change[rest], 128 / 255)
    found = likeness(poison - base, target)
    assert view.faces.captions[1] == f"change ×2.5\nlike the target: {found:.2f}"
    assert view.faces.captions[3] == "target: 1"
    assert list(view.line.get_ydata()) == [4, 3]
    assert view.far.get_xlim() == (0, 7.5)


def test_no_change_is_grey_all_over(view, scenario):
    view.update(scenario.base_images[0], ([0], [4.0]), [])
    assert np.allclose(shown(view)[1], 128 / 255)
    assert view.faces.captions[1] == "no change yet"


def test_two_classes_base_poison_and_target_are_points_of_one_plane(view, scenario):
    net = network("mlp", scenario.train.shape, 2)
    view.put(view.places(net, init(net, 0), scenario.targets[0]))
    sizes = [len(group.get_xdata()) for group in view.space.groups]
    assert sizes == [*(len(crowd) for crowd in view.crowds), 1, 1, 1]
    spot = [np.array(view.space.groups[i].get_xydata()) for i in (2, 3, 4)]
    assert np.allclose(spot[1], spot[2])  # the poison is the target itself
    assert not np.allclose(spot[0], spot[2])
    assert torch.isfinite(torch.tensor(np.concatenate(spot))).all()


def test_guesses_and_kept_runs_are_in_the_plot_of_distances(view):
    view.show_guess(5)
    view.compare([Line("last run", [0, 1], [2.0, 1.0])])
    words = [t.get_text() for t in view.far.get_legend().get_texts()]
    assert {"this run", "your guess: 5", "last run"} <= set(words)
