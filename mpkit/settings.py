"""Everything an attack can be told, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral, Real

from mpkit.metagradient import METAGRADIENTS
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.tracing import WAYS


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything an attack can be told. Units: pixels in [0, 1], rates in units of the bound.

    Read afresh at every craft step, so they may change mid-run: `epsilon`, `epsilon_c`,
    `unroll_steps`, `craft_rate`, `craft_warmup`, `craft_decays`, `loss`, `kappa`, `metagradient`,
    `average`, `poisoned_steps`, `surrogate_data`. The others are fixed when a run begins.

    Where paper and official code differ: `average` "mean" (code) | "last"
    (paper); `poisoned_steps` "first" (code) | "all" (paper); `surrogate_data`, what surrogates
    train on, "clean" (code) | "poisoned" (paper). `craft_rate` is Adam's step as a share of ε
    (code: 200/8 = 25 of ε, which saturates every pixel); `craft_warmup` 5 and `craft_decays`
    (20, 40) are the code's schedule. `signed` takes the sign of the gradient first.

    `compute` says how the arithmetic is run: "traced" (the graph of its operations, once that is
    written down: see `mpkit.tracing`) or "plain" (function by function), which give the same bits;
    or "compiled", which is faster, needs a C++ compiler, takes a minute or so to begin, and rounds
    differently.

    Raises ValueError naming the value and what is allowed.
    """

    epsilon: float = 26 / 255
    epsilon_c: float = 0.04
    unroll_steps: int = 3
    craft_steps: int = 20
    models: int = 8
    craft_rate: float = 0.1
    craft_warmup: int = 0
    craft_decays: tuple[int, ...] = ()
    loss: str = "margin"
    kappa: float = 100.0
    metagradient: str = "auto"
    average: str = "mean"
    poisoned_steps: str = "first"
    surrogate_data: str = "poisoned"
    stagger: bool = True
    perturbation: str = "additive"
    signed: bool = False
    compute: str = "traced"
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    seed: int = 0

    def __post_init__(self):
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} {getattr(self, name)!r} is unknown; there are: {', '.join(choices)}"
                )
        for name, low, high in _RANGES:
            value = getattr(self, name)
            kind = Integral if name in _COUNTS else Real
            if not isinstance(value, kind):
                what = "whole number" if kind is Integral else "number"
                raise ValueError(f"{name} must be a {what} from {low} to {high}, not {value!r}")
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} must lie between {low} and {high}, not {value}")
        self._check_the_rest()

    def rate_at(self, step: int) -> float:
        """The size of Adam's step at craft step `step`, counted from 0, in units of the bounds."""
        rate = self.craft_rate * 0.1 ** sum(step >= d for d in self.craft_decays)
        ramp = min(1.0, (step + 1) / self.craft_warmup) if self.craft_warmup else 1.0
        return rate * ramp**2

    def _check_the_rest(self) -> None:
        if not isinstance(self.seed, Integral):
            raise ValueError(f"seed must be a whole number, not {self.seed!r}")
        decays = self.craft_decays
        if not isinstance(decays, tuple) or not all(isinstance(d, Integral) for d in decays):
            raise ValueError(f"craft_decays must be a tuple of craft steps, not {decays!r}")
        used = PERTURBATIONS[self.perturbation].bounded_by
        if all(getattr(self, name) == 0 for name in used):
            names = " and ".join(used)
            raise ValueError(
                f"{names} 0 leaves nothing to perturb; allowed is anything up to 1, usual 8/255"
            )
        if not isinstance(self.recipe, Recipe):
            raise ValueError(f"recipe must be a Recipe, not {self.recipe!r}")
        if not self.recipe.plain:
            raise ValueError(
                "surrogates train by plain SGD; "
                "weight decay, momentum and augmentation are for victims"
            )


_COUNTS = ("unroll_steps", "craft_steps", "models", "craft_warmup")
_CHOICES = {
    "loss": ("margin", "cross-entropy"),
    "metagradient": tuple(METAGRADIENTS),
    "average": ("mean", "last"),
    "poisoned_steps": ("first", "all"),
    "surrogate_data": ("poisoned", "clean"),
    "perturbation": tuple(PERTURBATIONS),
    "compute": WAYS,
}
_RANGES = [
    ("epsilon", 0, 1),
    ("epsilon_c", 0, 1),
    ("unroll_steps", 1, 64),
    ("craft_steps", 1, 100_000),
    ("models", 1, 10_000),
    ("craft_rate", 1e-6, 1000),
    ("craft_warmup", 0, 100_000),
    ("kappa", 0, 1e9),
]
