"""Defenses while training: each is called as `mpkit.training.train` is, with `defense` besides."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mpkit.defenses.adversarial import Adversarial
from mpkit.defenses.cleansing import Cleansing
from mpkit.defenses.defense import Defense
from mpkit.defenses.friendly import Friendly
from mpkit.defenses.mixing import Augmented, Cutout, Mixup
from mpkit.defenses.partition import partition
from mpkit.defenses.private import Private
from mpkit.defenses.trainee import Trainer, trainer
from mpkit.functional import State
from mpkit.recipe import Recipe
from mpkit.training import EpochRecord, train


def jpeg_pictures(x: Tensor, quality: int) -> Tensor:
    """Pictures (N, C, H, W) in [0, 1] as they come back from JPEG files of that quality."""
    return torch.cat([_some_again(part, quality) for part in x.split(500)])


def _some_again(x: Tensor, quality: int) -> Tensor:
    levels = (255 * x).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    found = [_again(p[..., 0] if p.shape[-1] == 1 else p, quality) for p in levels]
    back = torch.from_numpy(np.stack(found)).reshape(levels.shape).permute(0, 3, 1, 2)
    return back.to(x) / 255


def _again(levels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def jpeg(
    module: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, seeds, *, defense: Defense, **how
) -> Iterator[tuple[State, EpochRecord]]:
    """Training on pictures that were compressed again. Of pictures that came as JPEG files it costs
    a defender less than of others: they have lost already what it takes away."""
    return train(module, jpeg_pictures(x, defense.jpeg_quality), y, recipe, seeds, **how)


def early_stopping(
    module: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, seeds, *, defense: Defense, **how
) -> Iterator[tuple[State, EpochRecord]]:
    """Training that stops when the share `stop_after` of the epochs is over: later ones change
    nothing any more."""
    fewer = dataclasses.replace(recipe, epochs=max(1, round(defense.stop_after * recipe.epochs)))
    for state, record in train(module, x, y, fewer, seeds, **how):
        yield state, record
    for epoch in range(fewer.epochs, recipe.epochs):
        yield state, dataclasses.replace(record, epoch=epoch + 1)


TRAINERS: dict[str, Trainer] = {
    "jpeg": jpeg,
    "mixup": trainer(Mixup),
    "cutout": trainer(Cutout),
    "augment": trainer(Augmented),
    "early-stopping": early_stopping,
    "dp-sgd": trainer(Private),
    "friendly-noise": trainer(Friendly),
    "adversarial": trainer(Adversarial),
    "epic-training": trainer(Cleansing),
    "partition": partition,
}
"""The training-time and the certified defenses by name."""
