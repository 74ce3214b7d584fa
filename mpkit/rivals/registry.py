"""The rivals by the name of their method: see `mpkit.settings.METHODS`."""

from __future__ import annotations

from collections.abc import Callable

from mpkit.perturbation import Parameters
from mpkit.rivals.features import bullseye, collision, polytope, rival_of
from mpkit.rivals.matching import matching
from mpkit.rivals.passes import Rival
from mpkit.rivals.simple import asked, noise, unchanged, watermark

STILL_MADE: dict[str, Callable[..., Parameters]] = {
    "watermark": watermark,
    "label-flip": unchanged,
    "noise": noise,
}
"""(scenario, perturbation, settings) → the parameters of the poisons, at once."""

RIVALS: dict[str, Rival] = {
    "gradient-matching": matching,
    "feature-collision": rival_of(collision),
    "convex-polytope": rival_of(polytope),
    "bullseye": rival_of(bullseye),
    **dict.fromkeys(STILL_MADE, asked),
}
"""What each asks its surrogates at a craft step."""
