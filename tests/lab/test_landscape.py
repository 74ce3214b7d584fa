"""The plane through three points, and losses on it."""

from __future__ import annotations

import pytest
import torch

from mpkit.functional import init
from mpkit.lab.landscape import flatten, landscape, losses_on, plane_through, unflatten
from mpkit.networks import network
from mpkit.tracing import same


def test_the_plane_holds_its_three_points():
    g = torch.Generator().manual_seed(0)
    start, a, b = torch.randn(3, 50, generator=g, dtype=torch.float64)
    plane = plane_through(start, a, b)
    assert torch.allclose(plane.basis @ plane.basis.T, torch.eye(2, dtype=torch.float64))
    for point in (start, a, b):
        assert torch.allclose(plane.points(plane.coordinates(point)), point)
    same = plane_through(start, a, a)
    assert torch.allclose(same.points(same.coordinates(a)), a)
    nothing = plane_through(start, start, start)
    assert torch.isfinite(nothing.basis).all()


def test_weights_come_back_from_rows():
    state = init(network("convnet-bn", (1, 8, 8), 2), 1)
    assert same(unflatten(flatten(state), state), state)


@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_the_landscape_is_the_losses_at_every_point(name):
    net, (x, y) = network(name, (1, 8, 8), 2), (torch.rand(6, 1, 8, 8), torch.arange(6) % 2)
    start, *ends = (init(net, seed) for seed in range(3))
    plane, corners = plane_through(*map(flatten, (start, *ends))), (-1.0, 2.0, -3.0, 1.0)
    losses = losses_on(net, x, y, lambda state, _: state.params["head.bias"].sum())
    xs, ys, *found = landscape(losses, start, plane, corners, size=3)
    assert (xs[0], xs[-1], ys[0], ys[-1]) == corners
    for row, column in ((0, 0), (1, 2), (2, 1)):
        one = unflatten(plane.points(torch.stack([xs[column], ys[row]])), start)
        for grid, wanted in zip(found, losses(one), strict=True):
            assert torch.isclose(grid[row, column], wanted, rtol=1e-4, atol=1e-5)
