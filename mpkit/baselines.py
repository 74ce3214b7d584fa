"""What came before: feature collision and watermarks (slides 2–4).

Feature collision (Shafahi et al., "Poison Frogs!", NeurIPS 2018, Algorithm 1) looks for a picture
that a *fixed* network cannot tell from the target, and a person cannot tell from the base:

    minimise ‖f(x) − f(t)‖² + β‖x − b‖²

by a forward step on the first term and a backward (proximal) step on the second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.func import grad

from mpkit.finetuning import features
from mpkit.functional import State, own
from mpkit.setting import Dial, Live, declared, setting


@declared
class Collision:
    """How to collide. Raises ValueError naming the value and what is allowed."""

    beta: float = setting(
        0.1, "pull toward the base", (0, 100), Live("β, pull to base", "β", 0, 2, 0.05)
    )
    rate: float = setting(
        0.5,
        "step, in units of pixel value, for a gradient of norm 1",
        dial=Live("step size", "step", 0.05, 2, 0.05),
        above=0,
        high=10,
    )
    steps: int = setting(60, "how many", dial=Live("steps", "steps", 1, 300), low=1)
    opacity: float = setting(
        0.0, "of a watermark of the target to begin with", (0, 1), Dial("watermark", "", 0, 1, 0.05)
    )


@dataclasses.dataclass(frozen=True)
class CollisionRecord:
    """After a step: ‖f(x) − f(t)‖ and ‖x − b‖, the latter per pixel (root mean square); β."""

    step: int
    features: float
    pixels: float
    beta: float


def watermark(base: Tensor, target: Tensor, opacity: float) -> Tensor:
    """opacity·target + (1 − opacity)·base, for pictures of equal shape in [0, 1]."""
    return opacity * target + (1 - opacity) * base


def collide(
    network: nn.Module,
    state: State,
    base: Tensor,
    target: Tensor,
    settings: Collision | Callable[[], Collision],
) -> Iterator[tuple[Tensor, CollisionRecord]]:
    """Poisons (C, H, W) on their way from the base to the target's features, step by step.

    base and target (C, H, W) in [0, 1]; `state` of one model. `settings` may be a
    callable, which is asked before every step. The first item, step 0, is where it begins.
    """
    now = settings if callable(settings) else lambda: settings
    module = own(network)
    phi = lambda x: features(module, state, x[None])[0]  # noqa: E731
    aim, step = phi(target), 0

    def record(x: Tensor, step: int, beta: float) -> CollisionRecord:
        pixels = (x - base).square().mean().sqrt()
        return CollisionRecord(step, float((phi(x) - aim).norm()), float(pixels), beta)

    x = watermark(base, target, now().opacity)
    yield x, record(x, 0, now().beta)
    while step < now().steps:
        step, s = step + 1, now()
        slope = grad(lambda x: (phi(x) - aim).square().sum())(x)
        forward = x - s.rate * slope / slope.norm().clamp(min=1e-12)
        x = proximal(forward, base, s.beta * s.rate)
        yield x, record(x, step, s.beta)


def proximal(x: Tensor, base: Tensor, weight: float) -> Tensor:
    """argmin_z ½‖z − x‖² + ½·weight·‖z − b‖², clipped to [0, 1]."""
    return ((x + weight * base) / (1 + weight)).clamp(0, 1)
