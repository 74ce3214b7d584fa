"""DynamicsLab's picture: two runs as curves, and as paths in the plane through their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mpkit.functional import init, stack
from mpkit.lab.dynamics_record import TwinRecord
from mpkit.lab.dynamics_view import TwinsView
from mpkit.lab.kit.tools import Line
from mpkit.lab.landscape import losses_on
from mpkit.networks import network
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import small_attack


@pytest.fixture
def view():
    return TwinsView(load_scenario(small_attack(), progress=False), epochs=3)


def record(epoch: int, first: float, second: float) -> TwinRecord:
    both = (first, second)
    return TwinRecord(epoch, both, both, both, both, both, 0.1)


def path_of(*seeds: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seeds[0])
    start = torch.randn(30, generator=g, dtype=torch.float64)
    moves = torch.randn(len(seeds), 2, 30, generator=g, dtype=torch.float64)
    return [torch.stack([start, start]), *(start + 0.1 * move for move in moves.cumsum(0))]


def test_both_twins_have_a_curve_in_every_plot(view):
    records = [record(0, math.nan, math.nan), record(1, 0.8, 0.7), record(2, 0.5, 0.9)]
    view.follow(path_of(1, 2))
    view.update(records, [(1.5, "ε 26 → 10")])
    for lines in view.lines:
        for twin, line in enumerate(lines):
            assert list(line.get_xdata()) == [0, 1, 2]
            assert list(line.get_ydata()[1:]) == [(0.8, 0.7)[twin], (0.5, 0.9)[twin]]
    assert view.axes[0].held == (0, pytest.approx(1.08 * 0.9))


def test_paths_lie_in_the_plane_through_the_start_and_both_ends(view):
    path = path_of(1, 2, 3)
    view.follow(path)
    view.update([record(0, 0, 0), record(1, 0.8, 0.7)], [])
    plane = view.flatland
    for twin, line in enumerate(view.paths):
        found = torch.tensor(np.array(line.get_data())).T
        assert torch.allclose(found, plane.coordinates(torch.stack(path)[:, twin]))
        assert torch.allclose(plane.points(found[[0, -1]]), torch.stack(path)[[0, -1], twin])
        assert list(view.ends[twin].get_xdata()) == [float(found[-1, 0])]
    assert list(view.begin.get_xdata()) == [0]
    low, high = view.plane.get_xlim()
    assert low < 0 < high


def test_a_path_is_followed_until_a_twin_diverged(view):
    path = path_of(1, 2)
    path.append(torch.full_like(path[0], math.nan))
    view.follow(path)
    view.update([record(0, 0, 0), record(1, 0.8, math.nan)], [])
    assert len(view.paths[0].get_xdata()) == 3


def test_hills_are_drawn_under_the_paths_and_taken_away_with_them(view):
    s = view.scenario
    net = network("mlp", s.train.shape, 2)
    states = [init(net, seed) for seed in range(3)]
    path = [view.flat(stack([states[0]] * 2)), view.flat(stack(states[1:]))]
    view.follow(path)
    view.update([record(0, 0, 0), record(1, 0.5, 0.4)], [])
    losses = losses_on(net, s.train.x[:8], s.train.y[:8], lambda state, _: torch.tensor(1.0))
    view.contours(losses, states[0])
    view.update([record(0, 0, 0), record(1, 0.5, 0.4)], [])
    assert view.hills
    view.follow(path)
    view.update([record(0, 0, 0), record(1, 0.5, 0.4)], [])
    assert view.hills == []


def test_guesses_and_kept_runs_are_in_the_targets_plot(view):
    view.show_guess(2)
    view.compare([Line("last run", [0, 1], [0.2, 0.8])])
    words = {t.get_text() for t in view.axes[2].get_legend().get_texts()}
    assert {"your guess: 2", "last run"} <= words
    view.say("training the clean twin")
    assert view.axes[0].get_title(loc="left") == "training the clean twin"
