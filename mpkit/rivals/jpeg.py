"""JPEG as a function that can be differentiated, for an attacker who expects it.

The steps of a JPEG file (ITU-T T.81) as Pillow writes and reads one: brightness and colour, colour
at half the size, 8 × 8 blocks, their cosine transform, which is divided by a table and rounded, and
back. Rounding is ⌊x⌉ + (x − ⌊x⌉)³ (Shin & Song, NIPS MLSec 2017), whose slope is not 0.
"""

from __future__ import annotations

import functools
import io
import math

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

# Y, Cb, Cr of R, G, B (JFIF 1.02).
TO_YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)


@functools.cache
def tables(quality: int) -> tuple[Tensor, Tensor]:
    """What Pillow divides brightness and colour by at a quality, (8, 8) each."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", quality=quality)
    found = Image.open(file).quantization
    return tuple(torch.tensor(found[i], dtype=torch.float32).view(8, 8) for i in (0, 1))


@functools.cache
def cosines() -> Tensor:
    """The 8 × 8 matrix of the cosine transform, whose inverse is its transpose."""
    k = torch.arange(8, dtype=torch.float64)
    waves = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) / 2
    waves[0] /= math.sqrt(2)
    return waves.float()


def softly(x: Tensor) -> Tensor:
    """⌊x⌉ + (x − ⌊x⌉)³."""
    whole = x.round().detach()
    return whole + (x - whole) ** 3


def jpeg(x: Tensor, quality: int, rounded=softly) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1], grey or RGB, as they come back from a file of a quality."""
    grey, (height, width) = x.shape[1] == 1, x.shape[-2:]
    side = 8 if grey else 16
    levels = F.pad(255 * x, (0, -width % side, 0, -height % side), mode="replicate")
    light, colour = (table.to(x) for table in tables(quality))
    if grey:
        found = _coded(levels - 128, light, rounded) + 128
    else:
        to_ycc = TO_YCC.to(x)
        ycc = torch.einsum("ij,njhw->nihw", to_ycc, levels)
        y = _coded(ycc[:, :1] - 128, light, rounded) + 128
        small = _coded(F.avg_pool2d(ycc[:, 1:], 2), colour, rounded)
        back = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
        ycc = torch.cat([y, back], 1)
        found = torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), ycc)
    return (found / 255).clamp(0, 1)[..., :height, :width]


def _coded(x: Tensor, table: Tensor, rounded) -> Tensor:
    """Channels (N, C, H, W) around 0, of sides that 8 divides, coded block by block and back."""
    n, c, height, width = x.shape
    blocks = x.view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    waves = cosines().to(x)
    coded = rounded(waves @ blocks @ waves.T / table) * table
    return (waves.T @ coded @ waves).transpose(3, 4).reshape(x.shape).clamp(-128, 127)
