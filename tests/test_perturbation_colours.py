"""Colours against an oracle in plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mpkit.perturbation import RGB_TO_YUV, YUV_HIGH, YUV_LOW, Additive, Composed, Recolor
from tests.test_perturbation import GREY, RGB, SHAPES, gen, pictures, wild


def test_yuv_is_that_of_bt601():
    """U and V are scaled differences of blue and red from brightness, and these are their ends."""
    colours = torch.rand(50, 3, generator=gen(0))
    y, u, v = (colours @ RGB_TO_YUV.T).T
    r, g, b = colours.T
    assert torch.allclose(y, 0.299 * r + 0.587 * g + 0.114 * b, atol=1e-6)
    assert torch.allclose(u, 0.492 * (b - y), atol=1e-3)
    assert torch.allclose(v, 0.877 * (r - y), atol=1e-3)
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3))) @ RGB_TO_YUV.T
    assert torch.allclose(corners.amin(0), YUV_LOW, atol=1e-4)
    assert torch.allclose(corners.amax(0), YUV_HIGH, atol=1e-4)


def trilinear(grid: np.ndarray, place: np.ndarray) -> np.ndarray:
    """grid (3, Y, U, V) read at place (3,), each coordinate in [0, cells − 1]."""
    place = np.clip(place, 0, grid.shape[1] - 1)
    low = np.minimum(np.floor(place).astype(int), grid.shape[1] - 2)
    found = np.zeros(3)
    for corner in itertools.product((0, 1), repeat=3):
        weight = 1.0
        for axis in range(3):
            part = place[axis] - low[axis]
            weight *= part if corner[axis] else 1 - part
        at = tuple(low[axis] + corner[axis] for axis in range(3))
        found += weight * grid[(slice(None), *at)]
    return found


def recolor_oracle(grid: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Pixel by pixel; grid (P, 3, n, n, n), bases (P, 3, H, W)."""
    matrix = RGB_TO_YUV.double().numpy()
    low, high = YUV_LOW.double().numpy(), YUV_HIGH.double().numpy()
    out, cells = np.empty_like(bases), grid.shape[-1]
    for p, i, j in np.ndindex(bases.shape[0], *bases.shape[2:]):
        rgb = bases[p, :, i, j]
        yuv = matrix @ rgb
        offset = trilinear(grid[p], (yuv - low) / (high - low) * (cells - 1))
        out[p, :, i, j] = np.clip(np.linalg.solve(matrix, yuv + offset), 0, 1)
    return out


@pytest.mark.parametrize("cells", [2, 3, 10])
def test_colours_are_read_by_trilinear_interpolation(cells):
    bases = pictures(3, RGB, seed=cells).double()
    grid = 0.2 * torch.randn(3, 3, cells, cells, cells, generator=gen(1), dtype=torch.float64)
    found = Recolor(cells).apply({"grid": grid}, bases)
    expected = recolor_oracle(grid.numpy(), bases.numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    inside = (expected > 0) & (expected < 1)
    assert 0.2 < inside.mean() < 1, "the case should have pixels that are clipped and some not"
    single = Recolor(cells).apply({"grid": grid.float()}, bases.float())
    np.testing.assert_allclose(single.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_axis_of_the_grid_is_its_own_of_y_u_and_v(axis, channel):
    """A grid that rises along one axis only, in one of the offsets only."""
    bases = pictures(2, RGB, seed=7, low=0.35, high=0.65).double()
    cells = 5
    ramp = 0.05 * torch.linspace(0, 1, cells, dtype=torch.float64)
    grid = torch.zeros(2, 3, cells, cells, cells, dtype=torch.float64)
    grid[:, channel] = ramp.view([-1 if d == axis else 1 for d in range(3)])
    found = Recolor(cells).apply({"grid": grid}, bases)
    to_yuv = lambda x: torch.einsum("ij,pjhw->pihw", RGB_TO_YUV.double(), x)  # noqa: E731
    low, high = YUV_LOW[axis].double(), YUV_HIGH[axis].double()
    expected = torch.zeros_like(bases)
    expected[:, channel] = 0.05 * (to_yuv(bases)[:, axis] - low) / (high - low)
    assert torch.allclose(to_yuv(found) - to_yuv(bases), expected, atol=1e-12)
    assert expected[:, channel].std() > 1e-4


def test_a_constant_grid_shifts_every_pixel_alike_in_yuv():
    bases = pictures(2, RGB, seed=3, low=0.3, high=0.7).double()
    shift = torch.tensor([0.02, -0.03, 0.04], dtype=torch.float64)
    grid = shift[None, :, None, None, None].expand(2, 3, 4, 4, 4)
    moved = Recolor(4).apply({"grid": grid}, bases) - bases
    expected = np.linalg.solve(RGB_TO_YUV.double().numpy(), shift.numpy())
    np.testing.assert_allclose(
        moved.numpy(), np.broadcast_to(expected[None, :, None, None], moved.shape), atol=1e-12
    )


@SHAPES
def test_equal_colours_change_equally(shape):
    colours = pictures(2, (shape[0], 4, 1), seed=4)
    bases = colours.expand(2, shape[0], 4, 6)
    grid = wild("recolor", bases, 0.2, 1)["grid"]
    found = Recolor().apply({"grid": grid}, bases)
    assert torch.allclose(found, found[..., :1].expand_as(found), atol=1e-6)
    assert not torch.allclose(found[0] - bases[0], found[1] - bases[0], atol=1e-2)  # a grid each


@pytest.mark.parametrize("cells", [2, 3, 10])
def test_grey_is_read_along_a_line(cells):
    bases = pictures(3, GREY, seed=cells).double()
    bases[0, 0, 0] = torch.linspace(0, 1, 6)
    grid = 0.1 * torch.randn(3, 1, cells, generator=gen(1), dtype=torch.float64)
    found = Recolor(cells).apply({"grid": grid}, bases).numpy()
    knots = np.linspace(0, 1, cells)
    for p in range(3):
        b = bases[p, 0].numpy()
        expected = np.clip(b + np.interp(b, knots, grid[p, 0].numpy()), 0, 1)
        np.testing.assert_allclose(found[p, 0], expected, atol=1e-12)


@SHAPES
def test_penalty_is_the_mean_squared_difference_of_neighbours(shape):
    cells, channels = 3, shape[0]
    axes = [cells] * channels
    grid = torch.randn(2, channels, *axes, generator=gen(0), dtype=torch.float64)
    means = []
    for axis in range(channels):
        squares = []
        for p, c in np.ndindex(2, channels):
            for at in np.ndindex(*axes):
                if at[axis] + 1 < cells:
                    there = tuple(a + (d == axis) for d, a in enumerate(at))
                    squares.append((grid[p, c][there] - grid[p, c][at]).item() ** 2)
        means.append(np.mean(squares))
    found = Recolor(cells, smoothness=7).penalty({"grid": grid})
    assert found.shape == ()
    assert found.item() == pytest.approx(7 * np.mean(means), rel=1e-12)
    assert Recolor(cells).penalty({"grid": grid}).item() == pytest.approx(10 * np.mean(means))
    assert Composed(Recolor(cells, 3)).penalty({"grid": grid}).item() == pytest.approx(
        3 * np.mean(means)
    )
    assert Recolor(cells).penalty({"grid": torch.ones_like(grid)}) == 0


def test_noise_costs_no_penalty():
    delta = torch.rand(2, 1, 4, 4, requires_grad=True)
    penalty = Additive().penalty({"delta": delta})
    assert penalty.shape == ()
    assert penalty == 0


@SHAPES
def test_composed_is_first_colour_then_noise(shape):
    bases = pictures(3, shape, seed=2)
    both = wild("both", bases, 0.05, 1)
    expected = Recolor().apply({"grid": both["grid"]}, bases) + both["delta"]
    assert torch.equal(Composed().apply(both, bases), expected)
