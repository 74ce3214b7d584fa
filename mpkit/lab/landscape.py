"""The plane of weight space through a start and two ends, and what lies under it (slides 7–9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from mpkit.finetuning import seen
from mpkit.functional import State, logits, own


def flatten(state: State) -> Tensor:
    """The parameters of one model as a point of weight space: (D,)."""
    return torch.cat([w.detach().flatten() for w in state.params.values()])


def unflatten(point: Tensor, like: State) -> State:
    """A point (D,) as parameters shaped like those of `like`, one model, with its statistics."""
    sizes = [w.numel() for w in like.params.values()]
    parts = zip(like.params.items(), point.split(sizes), strict=True)
    return State({name: part.view_as(w) for (name, w), part in parts}, like.stats)


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


Losses = Callable[[State], tuple[Tensor, Tensor]]
"""What one model is asked for: its training loss () and L_adv ()."""


def losses_on(
    network: nn.Module, x: Tensor, y: Tensor, adversarial_loss: Callable[[State, Tensor], Tensor]
) -> Losses:
    """On pictures x (B, C, H, W), y (B,); `adversarial_loss` as for `mpkit.metagradient`.

    Batch norm takes the statistics of the pictures at hand, as those of a trained model do not fit
    weights elsewhere.
    """
    module, x = own(network), seen(network, x)

    def losses(state: State) -> tuple[Tensor, Tensor]:
        z, _ = logits(module, state, x)
        return F.cross_entropy(z, y), adversarial_loss(state, x)

    return losses


@torch.no_grad()
def landscape(
    losses: Losses,
    like: State,
    plane: Plane,
    corners: tuple[float, float, float, float],
    size: int = 13,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Both losses on a grid over the plane: xs (size,), ys (size,), two (size, size).

    `like` is any one model of the network; `corners`: left, right, bottom, top.
    """
    xs = torch.linspace(corners[0], corners[1], size)
    ys = torch.linspace(corners[2], corners[3], size)
    spots = torch.cartesian_prod(ys, xs).flip(1)
    # Statistics for each spot, as batch norm writes into its own.
    like = like.map(lambda t: t.expand(len(spots), *t.shape))
    ask = vmap(lambda at, like: losses(unflatten(plane.points(at), like)), chunk_size=size)
    return xs, ys, *(found.view(size, size) for found in ask(spots, like))
