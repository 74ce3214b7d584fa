"""How a model is trained: what can be told, and what is refused."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained (paper, appendix on training details).

    `lr` is reached linearly over `warmup` epochs and divided by 10 at each epoch of `decays`.
    `augment` pads by an eighth of the width (4 of 32) and crops back, `flip` mirrors half of the
    pictures; each does so with or without the other, as mirroring is for natural pictures only.
    Ages and `epochs` are counted in epochs.
    """

    epochs: int = 30
    batch: int = 50
    lr: float = 0.1
    warmup: int = 0
    decays: tuple[int, ...] = ()
    weight_decay: float = 0.0
    momentum: float = 0.0
    augment: bool = False
    flip: bool = False

    def __post_init__(self):
        for name, low in (("epochs", 1), ("batch", 1), ("warmup", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, not {self.lr}")
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf):
            raise ValueError(
                "momentum must lie in [0, 1) and weight_decay be 0 or more, "
                f"not {self.momentum} and {self.weight_decay}"
            )

    def lr_at(self, epoch: int) -> float:
        """The learning rate during an epoch, counted from 0."""
        ramp = min(1.0, (epoch + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * ramp * 0.1 ** sum(epoch >= d for d in self.decays)

    @property
    def plain(self) -> bool:
        """Whether a step is w − lr·∇L and nothing else, so that an unroll's first step is one."""
        return not (self.weight_decay or self.momentum or self.augment or self.flip)
