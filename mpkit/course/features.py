"""What a trained network sees: its features, distances in them, and a last layer on top (01)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mpkit.functional import Network, State

Features = Callable[[Tensor], Tensor]


def features_of(network: Network, state: State, model: int = 0) -> Features:
    """φ of one model of a stacked state: pictures (P, C, H, W) → penultimate layer (P, width)."""
    one = state.pick(slice(model, model + 1))
    return lambda x: network(one, x[None], train=False, part="features")[0][0]


def distance_ratio(phi: Features, poisons: Tensor, bases: Tensor, target: Tensor) -> Tensor:
    """‖φ(p) − φ(t)‖ / ‖φ(b) − φ(t)‖ for each poison: (P,).

    poisons and bases (P, C, H, W), target (1, C, H, W).
    """
    near, far = ((phi(x) - phi(target)).norm(dim=1) for x in (poisons, bases))
    return near / far


def linear_layer(width: int, classes: int) -> Network:
    """A last layer alone, as a network of "pictures" (…, 1, 1, width) that are features."""
    return Network(lambda: nn.Sequential(nn.Flatten(), nn.Linear(width, classes)))
