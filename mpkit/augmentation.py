"""Training pictures moved and mirrored at random, batch by batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Moves(NamedTuple):
    """How batches of pictures are moved: `rows` (b, B, H) and `cols` (b, B, W) of the pictures that
    are padded by `pad`."""

    rows: Tensor
    cols: Tensor
    pad: int


def moves(
    batches: int, x: Tensor, batch: int, shift: bool, flip: bool, generator: torch.Generator
) -> Moves:
    """What `augmented` does to so many batches of pictures like x (N, C, H, W), on x's device:
    drawn at once, as a GPU would be waited for at every batch."""
    height, width = x.shape[-2:]
    pad = max(1, width // 8) if shift else 0
    drawn = []
    for _ in range(batches):
        top, left = torch.randint(0, 2 * pad + 1, (2, batch, 1), generator=generator)
        rows, cols = top + torch.arange(height), left + torch.arange(width)
        if flip:
            mirrored = torch.rand(batch, 1, generator=generator) < 0.5
            cols = torch.where(mirrored, cols.flip(1), cols)
        drawn.append((rows, cols))
    rows, cols = (torch.stack(part).to(x.device) for part in zip(*drawn, strict=True))
    return Moves(rows, cols, pad)


def moved(x: Tensor, how: Moves, b: int = 0) -> Tensor:
    """x (B, C, H, W) moved as batch b is."""
    padded = F.pad(x, [how.pad] * 4).permute(0, 2, 3, 1)
    pick = torch.arange(len(x), device=x.device)[:, None, None]
    return padded[pick, how.rows[b, :, :, None], how.cols[b, :, None, :]].permute(0, 3, 1, 2)


def augmented(x: Tensor, shift: bool, flip: bool, generator: torch.Generator) -> Tensor:
    """x (B, C, H, W): padded by an eighth of its width and cropped back; half of it mirrored."""
    return moved(x, moves(1, x, len(x), shift, flip, generator))
