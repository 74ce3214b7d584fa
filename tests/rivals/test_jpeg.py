"""The JPEG that can be differentiated, against Pillow's."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad

from mpkit.defenses.trainers import jpeg_pictures
from mpkit.rivals.jpeg import cosines, jpeg, softly


def pictures(channels: int = 3, side: int = 32) -> torch.Tensor:
    """Smooth ones with some noise, as photographs are; 8-bit levels."""
    g = torch.Generator().manual_seed(3)
    x = torch.rand(6, channels, 5, 5, generator=g)
    x = torch.nn.functional.interpolate(x, (side, side), mode="bicubic").clamp(0.1, 0.9)
    x = x + 0.03 * torch.randn(x.shape, generator=g)
    return (255 * x.clamp(0, 1)).round() / 255


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
@pytest.mark.parametrize("shape", [(3, 32), (3, 20), (1, 32), (1, 28)], ids=str)
def test_it_is_close_to_what_pillow_writes_and_reads(shape, quality):
    x = pictures(*shape)
    there = jpeg_pictures(x, quality)
    moved = (there - x).abs().mean()
    for rounded, near in ((torch.round, 0.25), (softly, 0.6)):
        off = (jpeg(x, quality, rounded) - there).abs().mean()
        # Pillow rounds to whole levels on the way as well: half a level cannot be told apart.
        assert off < near * moved + 0.6 / 255


def test_cosines_are_turned_back_by_their_transpose():
    assert torch.allclose(cosines() @ cosines().T, torch.eye(8), atol=1e-6)


def test_rounding_has_a_slope():
    x = torch.tensor([0.2, 1.7, -2.4])
    assert torch.allclose(softly(x), torch.tensor([0.008, 1.973, -2.064]))
    assert torch.allclose(grad(lambda x: softly(x).sum())(x), torch.tensor([0.12, 0.27, 0.48]))


def test_the_gradient_is_that_of_finite_differences():
    x = pictures(side=16)[:1].double()
    way = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weigh = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def told(x):
        return (jpeg(x, 60) * weigh).sum()

    slope, h = (grad(told)(x) * way).sum(), 1e-7
    found = (told(x + h * way) - told(x - h * way)) / (2 * h)
    assert slope.item() == pytest.approx(found.item(), rel=1e-4)
