"""What crafting can be told, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from mpkit.metagradient import METAGRADIENTS
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.setting import PIXEL, Dial, Live, declared, setting, settings_of
from mpkit.tracing import WAYS

METHODS = {
    "metapoison": "MetaPoison",
    "gradient-matching": "gradient matching",
    "feature-collision": "feature collision",
    "convex-polytope": "convex polytope",
    "bullseye": "bullseye polytope",
    "watermark": "watermark",
    "label-flip": "flipped labels",
    "noise": "random noise",
}
"""How poisons are made, by name and in words. The last three are made at once, and not crafted."""
AGAINST = "method", ("metapoison", "gradient-matching")
STILL = ("watermark", "label-flip", "noise")
META = "method", ("metapoison",)
RIVALS = "method", ("gradient-matching", "feature-collision", "convex-polytope", "bullseye")
CRAFTED = "method", (*META[1], *RIVALS[1])


@declared
class Settings:
    """What crafting can be told. Units: pixels in [0, 1], rates in units of the bound.

    Those that may change in mid-run are read afresh at every craft step; the others are fixed when
    a run begins.

    Where paper and official code differ: `average` "mean" (code) | "last"
    (paper); `poisoned_steps` "first" (code) | "all" (paper); `surrogate_data`, what surrogates
    train on, "clean" (code) | "poisoned" (paper). `craft_rate` is Adam's step as a share of ε
    (code: 200/8 = 25 of ε, which saturates every pixel); `craft_warmup` 5 and `craft_decays`
    (20, 40) are the code's schedule.

    `compute` says how the arithmetic is run: "traced" (the graph of its operations, once that is
    written down: see `mpkit.tracing`) or "plain" (function by function), which give the same bits;
    or "compiled", which is faster, needs a C++ compiler, takes a minute or so to begin, and rounds
    differently; or "graphed", the traced graph as a CUDA graph, which needs a GPU of NVIDIA.

    `method` other than MetaPoison: see `mpkit.rivals`. They craft on surrogates that are trained to
    the end, on clean data, and look at no training steps.

    Raises ValueError naming the value and what is allowed.
    """

    method: str = setting(
        "metapoison",
        "how poisons are made",
        dial=Dial("method"),
        choices=METHODS,
        words=METHODS,
        added=True,
    )
    epsilon: float = setting(
        26 / 255,
        "bound on δ, in pixel values of [0, 1], such as 8/255",
        (0, 1),
        Live("ε (n/255)", "ε", 1, 64, unit=PIXEL),
        only=("perturbation", ("additive", "both")),
    )
    epsilon_c: float = setting(
        0.04,
        "bound on the colour change",
        (0, 1),
        Live("ε_c, colour", "ε_c", 0.01, 0.3, 0.01),
        only=("perturbation", ("recolor", "both")),
    )
    unroll_steps: int = setting(
        3,
        "K: training steps to look ahead",
        (1, 64),
        Live("K, steps ahead", "K", 1, 12),
        only=META,
    )
    craft_steps: int = setting(
        20,
        "C: steps of the poisons",
        (1, 100_000),
        Live("craft steps", "C", 1, 200),
        only=CRAFTED,
    )
    restarts: int = setting(
        1,
        "times that crafting begins anew, the craft steps divided among them; the lowest loss "
        "is kept",
        (1, 1000),
        only=RIVALS,
        added=True,
    )
    models: int = setting(8, "M: surrogates", (1, 10_000), Dial("surrogates", "M", 1, 24))
    craft_rate: float = setting(
        0.1,
        "Adam's step as a share of the bound",
        (1e-6, 1000),
        Live("crafting step (of ε)", "step", 0.01, 1, 0.01),
        only=CRAFTED,
    )
    craft_warmup: int = setting(
        0, "craft steps of quadratic warm-up", (0, 100_000), Live(), only=CRAFTED
    )
    craft_decays: tuple[int, ...] = setting(
        (), "craft steps at which the rate falls tenfold, with commas", live=True, only=CRAFTED
    )
    loss: Literal["margin", "cross-entropy"] = setting(
        "margin", "adversarial loss", live=True, only=META
    )
    kappa: float = setting(
        100.0,
        "the margin at which the loss stops rewarding",
        (0, 1e9),
        Live(),
        only=("loss", ("margin",)),
    )
    metagradient: str = setting(
        "auto",
        "how the gradient is taken",
        choices=METAGRADIENTS,
        gone={"matching": "Gradient matching is a method: say method gradient-matching"},
        live=True,
        only=META,
    )
    average: Literal["mean", "last"] = setting(
        "mean", "adversarial loss over w_1 … w_K or of w_K", live=True, only=META
    )
    poisoned_steps: Literal["first", "all"] = setting(
        "first", "unroll steps whose pixels are variables", live=True, only=META
    )
    surrogate_data: Literal["poisoned", "clean"] = setting(
        "poisoned", "what surrogates train on", live=True, only=META
    )
    stagger: bool = setting(True, "no: surrogates of the same age", only=META)
    perturbation: str = setting(
        "additive", "how pictures may change", dial=Dial("change"), choices=PERTURBATIONS
    )
    signed: bool = setting(
        False, "yes: take the gradient's sign before Adam", live=True, only=CRAFTED
    )
    beta: float = setting(
        0.1,
        "pull of a poison to its base",
        (0, 1000),
        Dial("β, pull to base", "β", 0, 2, 0.05),
        only=("method", ("feature-collision",)),
        added=True,
    )
    opacity: float = setting(
        0.3,
        "of the watermark, as far as ε allows",
        (0, 1),
        Dial("watermark", "", 0, 1, 0.05),
        only=("method", ("watermark",)),
        added=True,
    )
    against: Literal["none", "augment", "jpeg", "features"] = setting(
        "none",
        "a defense that the attacker expects: crafts through random shifts, through JPEG, "
        "or near their class in feature space",
        dial=Dial("crafted against"),
        only=AGAINST,
        added=True,
    )
    against_quality: int = setting(
        75,
        "quality of the JPEG that is expected",
        (1, 95),
        Dial("expected quality", "", 5, 95, 5),
        only=("against", ("jpeg",)),
        added=True,
    )
    against_weight: float = setting(
        1.0,
        "length of the pull to the class, in units of the attack's gradient",
        (0, 100),
        only=("against", ("features",)),
        added=True,
    )
    compute: str = setting("traced", "how the arithmetic is run", choices=WAYS, added=True)
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    seed: int = setting(
        0,
        "decides weights, shuffles, where δ starts and the noise control, and not which pictures "
        "are drawn",
        dial=Dial("seed", "seed", 0, 999),
        group="run",
    )

    def __post_init__(self):
        if not any(self.bounds.values()):
            names = " and ".join(self.bounds)
            raise ValueError(
                f"{names} 0 leaves nothing to perturb; allowed is anything up to 1, usual 8/255"
            )
        if self.method == "watermark" and "epsilon" not in self.bounds:
            raise ValueError(
                f"a watermark is added to the bases, and perturbation {self.perturbation} only "
                "recolours them: use additive, or another method"
            )
        if not self.recipe.plain:
            raise ValueError(
                "surrogates train by plain SGD; "
                "weight decay, momentum and augmentation are for victims"
            )

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that act: `epsilon`, `epsilon_c` or both."""
        return {name: getattr(self, name) for name in PERTURBATIONS[self.perturbation].bounded_by}

    @property
    def bounds_in_words(self) -> str:
        """The bounds that act: "ε = 8/255, ε_c = 0.04"."""
        return "other labels" if self.method == "label-flip" else bounds_told(self.bounds)

    @property
    def how_in_words(self) -> str:
        """What decides beside the bounds: "K = 3" of MetaPoison, and of others their name."""
        return f"K = {self.unroll_steps}" if self.method == "metapoison" else METHODS[self.method]

    @property
    def expected(self) -> str:
        """`against`, where it acts."""
        return self.against if self.method in AGAINST[1] else "none"

    def place_of(self, step: int) -> tuple[int, int]:
        """Which restart craft step `step` is in, and how many steps of it were before."""
        restarts = self.restarts if self.method in RIVALS[1] else 1
        each = max(1, self.craft_steps // restarts)
        restart = min(step // each, restarts - 1)
        return restart, step - restart * each

    def rate_at(self, step: int) -> float:
        """The size of Adam's step at craft step `step`, counted from 0, in units of the bounds."""
        rate = self.craft_rate * 0.1 ** sum(step >= d for d in self.craft_decays)
        ramp = min(1.0, (step + 1) / self.craft_warmup) if self.craft_warmup else 1.0
        return rate * ramp**2


def loss_in_words(method: str) -> str:
    """What the losses of a run are: "adversarial loss", or "loss of gradient matching"."""
    own = METHODS.keys() - {"metapoison", *STILL}
    return f"loss of {METHODS[method]}" if method in own else "adversarial loss"


def bounds_told(bounds: Mapping[str, float]) -> str:
    """Bounds by name in words, also such as no `Settings` may have: 0."""
    words = {
        "epsilon": lambda e: f"ε = {round(255 * e, 1):g}/255",
        "epsilon_c": lambda e: f"ε_c = {e:g}",
    }
    return ", ".join(words[name](bound) for name, bound in bounds.items())


FIXED = tuple(name for name, s in settings_of(Settings).items() if not s.live)
"""Settings that are decided when a run begins; all others may change from step to step."""

SPREAD = ("traced", "plain")
"""Ways to compute by which a step that is taken alone has the bits that it has in an unroll: only
then may a surrogate go on while threads look ahead from where it was."""
