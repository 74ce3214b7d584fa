"""The plane of weight space through a start and two ends, and what lies under it (slides 7–9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mpkit.functional import Network, State


def flatten(state: State) -> Tensor:
    """The parameters of M models as rows: (M, D)."""
    return torch.cat([w.detach().flatten(1) for w in state.params.values()], 1)


def unflatten(rows: Tensor, like: State) -> State:
    """Rows (M, D) as parameters shaped like those of `like`, with the statistics of its first."""
    params, at = {}, 0
    for name, w in like.params.items():
        size = w[0].numel()
        params[name] = rows[:, at : at + size].view(len(rows), *w.shape[1:])
        at += size
    stats = {k: v[:1].expand(len(rows), *v.shape[1:]) for k, v in like.stats.items()}
    return State(params, stats)


@dataclasses.dataclass(frozen=True)
class Plane:
    """`origin` (D,) and an orthonormal `basis` (2, D)."""

    origin: Tensor
    basis: Tensor

    def coordinates(self, rows: Tensor) -> Tensor:
        """(…, D) → (…, 2): the nearest point of the plane."""
        return (rows - self.origin) @ self.basis.T

    def points(self, coordinates: Tensor) -> Tensor:
        """(…, 2) → (…, D)."""
        return self.origin + coordinates @ self.basis


def plane_through(origin: Tensor, first: Tensor, second: Tensor) -> Plane:
    """The plane through three points (D,). The first axis points between the two ends.

    Where the ends coincide (or nothing has moved yet) the second axis is any other direction.
    """
    a, b = first - origin, second - origin
    middle = _unit(a + b)
    across = (b - a) - ((b - a) @ middle) * middle
    if across.norm() <= 1e-6 * (a.norm() + b.norm() + 1e-30):
        across = torch.roll(middle, 1) - (torch.roll(middle, 1) @ middle) * middle
    return Plane(origin, torch.stack([middle, _unit(across)]))


def _unit(v: Tensor) -> Tensor:
    length = v.norm()
    if length > 0:
        return v / length
    return F.one_hot(torch.tensor(0), len(v)).to(v)


@torch.no_grad()
def landscape(
    network: Network,
    like: State,
    plane: Plane,
    corners: tuple[float, float, float, float],
    x: Tensor,
    y: Tensor,
    adversarial: Callable[[State, Tensor], Tensor],
    size: int = 13,
):
    """Training loss and L_adv on a grid over the plane: xs (size,), ys (size,), two (size, size).

    `corners`: left, right, bottom, top. Batch norm takes the statistics of the pictures at hand, as
    those of a trained model do not fit weights elsewhere.
    """
    xs = torch.linspace(corners[0], corners[1], size)
    ys = torch.linspace(corners[2], corners[3], size)
    train, adv = [], []
    for height in ys:
        spots = torch.stack([xs, height.expand(size)], 1)
        state = unflatten(plane.points(spots), like)
        pixels = x.expand(size, *x.shape)
        logits = network(state, pixels)[0]
        labels = y.repeat(size)
        each = F.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
        train.append(each.view(size, -1).mean(1))
        adv.append(adversarial(state, pixels))
    return xs, ys, torch.stack(train), torch.stack(adv)
