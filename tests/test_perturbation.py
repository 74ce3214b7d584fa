"""Perturbations: bounds that survive rounding, and the colour grid against a plain loop."""

import numpy as np
import pytest
import torch

from mpkit.perturbation import Additive, Composed, Recolor, to_8bit


def pictures(channels, seed=0, n=3):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, 6, 6), generator=g).float() / 255


@pytest.mark.parametrize("epsilon", [1 / 1000, 1.5 / 255, 8 / 255, 0.1, 26 / 255, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [Additive, Composed])
def test_eight_bit_poisons_are_within_epsilon(kind, channels, epsilon):
    bases, how = pictures(channels), kind()
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        wild = {
            k: torch.randn(v.shape, generator=g) for k, v in how.init(bases, epsilon, g).items()
        }
        found = how.project(wild, bases, epsilon, 0.04)
        assert found["delta"].abs().max() <= epsilon + 1e-6
        images = how.apply(found, bases)
        assert images.min() >= -1e-6
        assert images.max() <= 1 + 1e-6
        centre = images - found["delta"]
        off = (to_8bit(how, found, bases, epsilon).float() / 255 - centre).abs().max()
        # A recoloured pixel lies between two grey levels: then rounding alone may take half a one.
        assert off <= max(epsilon, 0.5 / 255 if kind is Composed else 0) + 1e-5


def yuv_offsets(grid, picture):
    """Trilinear interpolation, pixel by pixel and corner by corner."""
    matrix = np.array(
        [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]
    )
    low, high, n = np.array([0, -0.436, -0.615]), np.array([1, 0.436, 0.615]), grid.shape[-1] - 1
    out = np.zeros((3, *picture.shape[1:]))
    for i in range(picture.shape[1]):
        for j in range(picture.shape[2]):
            at = np.clip((matrix @ picture[:, i, j] - low) / (high - low), 0, 1) * n
            corner = np.minimum(at.astype(int), n - 1)
            for d in np.ndindex(2, 2, 2):
                weight = np.prod(np.where(d, at - corner, 1 - (at - corner)))
                out[:, i, j] += weight * grid[(slice(None), *(corner + d))]
    return np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), out)


def test_recolouring_equals_a_plain_loop():
    bases, how = pictures(3), Recolor(cells=5)
    grid = 0.04 * torch.randn(3, 3, 5, 5, 5, generator=torch.Generator().manual_seed(1)).clamp(
        -1, 1
    )
    found = how.apply({"grid": grid}, bases)
    for p in range(3):
        moved = yuv_offsets(grid[p].double().numpy(), bases[p].double().numpy())
        expected = np.clip(bases[p].double().numpy() + moved, 0, 1)
        assert np.abs(found[p].numpy() - expected).max() < 1e-5


def test_grey_recolouring_interpolates_brightness():
    bases, how = pictures(1), Recolor()
    line = 0.04 * torch.randn(3, 1, 10, generator=torch.Generator().manual_seed(1))
    found = how.apply({"grid": line}, bases)
    for p in range(3):
        moved = np.interp(bases[p, 0].numpy(), np.linspace(0, 1, 10), line[p, 0].numpy())
        assert np.abs(found[p, 0].numpy() - np.clip(bases[p, 0].numpy() + moved, 0, 1)).max() < 1e-5


def test_two_channels_have_no_colour():
    with pytest.raises(ValueError, match="not 2 channels"):
        Recolor().init(pictures(2), 0.1, torch.Generator())
