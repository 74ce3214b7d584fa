"""What a trained network sees: its features, distances in them, and a last layer on top (01)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mpkit.finetuning import features
from mpkit.functional import State, own

Features = Callable[[Tensor], Tensor]


def features_of(network: nn.Module, state: State) -> Features:
    """φ of one model: pictures (P, C, H, W) → penultimate layer (P, width)."""
    module = own(network)
    return lambda x: features(module, state, x)


def distance_ratio(phi: Features, poisons: Tensor, bases: Tensor, target: Tensor) -> Tensor:
    """‖φ(p) − φ(t)‖ / ‖φ(b) − φ(t)‖ for each poison: (P,).

    poisons and bases (P, C, H, W), target (1, C, H, W).
    """
    near, far = ((phi(x) - phi(target)).norm(dim=1) for x in (poisons, bases))
    return near / far


def linear_layer(width: int, classes: int) -> nn.Module:
    """A last layer alone, as a network of "pictures" (P, 1, 1, width) that are features."""
    return nn.Sequential(nn.Flatten(), nn.Linear(width, classes, device="meta"))
