"""How a model is trained: what can be told, and what is refused."""

from __future__ import annotations

from mpkit.setting import Dial, declared, setting

VICTIMS = "victims"
"""The heading of what surrogates do not have."""


@declared
class Recipe:
    """How a model is trained (paper, appendix on training details).

    Ages and `epochs` are counted in epochs. Surrogates train by plain SGD: weight decay, momentum
    and augmentation are for victims. Raises ValueError naming the value and what is allowed.
    """

    epochs: int = setting(30, "T: epochs of training", dial=Dial("epochs", "T", 1, 100), low=1)
    batch: int = setting(50, "images a batch", dial=Dial("batch", "batch", 5, 250), low=1)
    lr: float = setting(
        0.1, "learning rate", dial=Dial("learning rate", "lr", 0.01, 0.5, 0.01), above=0
    )
    warmup: int = setting(0, "epochs over which lr rises linearly", low=0)
    decays: tuple[int, ...] = setting((), "epochs at which lr falls tenfold, with commas")
    weight_decay: float = setting(
        0.0, "weight decay", dial=Dial("weight decay", "", 0.0, 0.01, 0.0001), low=0, group=VICTIMS
    )
    momentum: float = setting(0.0, "momentum", low=0, below=1, group=VICTIMS)
    augment: bool = setting(
        False,
        "yes: shift pictures at random, by up to an eighth of their width (4 of 32)",
        dial=Dial("augmentation"),
        group=VICTIMS,
    )
    flip: bool = setting(
        False, "yes: mirror half of the pictures at random, for natural pictures", group=VICTIMS
    )

    def lr_at(self, epoch: int) -> float:
        """The learning rate during an epoch, counted from 0."""
        ramp = min(1.0, (epoch + 1) / self.warmup) if self.warmup else 1.0
        return self.lr * ramp * 0.1 ** sum(epoch >= d for d in self.decays)

    @property
    def plain(self) -> bool:
        """Whether a step is w − lr·∇L and nothing else, so that an unroll's first step is one."""
        return not (self.weight_decay or self.momentum or self.augment or self.flip)
