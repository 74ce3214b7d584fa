"""The K batches of an unroll with poisons in their places, and what is found by unrolling them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from mpkit.functional import State

Adversarial = Callable[[State, Tensor], Tensor]
"""(stacked state, the pixels of a batch (M, B, C, H, W)) → L_adv of each model (M,); for a single
model all of them may lack the M (see `unstacked`)."""


@dataclasses.dataclass(frozen=True)
class Batches:
    """K batches for each of M models, poisons first.

    x (K, M, B, C, H, W) clean pictures, y (K, M, B) labels, slot (M, R): which poison stands in row
    r < R of every one of the K batches; P where that row is no poison. R may be zero.
    """

    x: Tensor
    y: Tensor
    slot: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, poisons: Tensor) -> Tensor:
        """(K, M, R, C, H, W) the first R rows of every batch with the poisons in their places."""
        extended = torch.cat([poisons, poisons.new_zeros(1, *poisons.shape[1:])])
        is_poison = (self.slot < len(poisons))[..., None, None, None]
        clean = self.x[..., : self.slot.shape[-1], :, :, :]
        return torch.where(is_poison, extended[self.slot], clean)

    def fill(self, rows: Tensor, k: int) -> Tensor:
        """(M, B, C, H, W) batch k with its first R rows replaced."""
        return torch.cat([rows, self.x[k][..., rows.shape[-4] :, :, :, :]], -4)

    def scatter(self, rows: Tensor, poisons: Tensor) -> Tensor:
        """Gradients of rows (M, R, …) added up per poison (P, …)."""
        out = poisons.new_zeros(len(poisons) + 1, *poisons.shape[1:])  # the last: of no poison
        return out.index_add(0, self.slot.flatten(), rows.flatten(0, -4))[:-1]

    def of_one(self) -> Batches:
        """Those of the only model, without their M."""
        return Batches(self.x[:, 0], self.y[:, 0], self.slot[0])


@dataclasses.dataclass(frozen=True)
class MetaGradient:
    """`gradient` (P, C, H, W) summed over the models, `losses` (M,), and the state w₁ of the unroll
    (None where the strategy takes no step): a surrogate that trains on poisons has it for free."""

    gradient: Tensor
    losses: Tensor
    first: State | None = None


def unstacked(strategy: Callable[..., MetaGradient]) -> Callable[..., MetaGradient]:
    """`strategy` that is handed a single model without M.

    Dropping M once instead of in every call of the network saves a small one a tenth of its time.
    """

    @functools.wraps(strategy)
    def run(network, adversarial, poisons, state, batches, lr, *rest, **options):
        if len(lr) > 1:
            return strategy(network, adversarial, poisons, state, batches, lr, *rest, **options)
        one = state.map(lambda t: t[0])
        found = strategy(
            network, adversarial, poisons, one, batches.of_one(), lr[0], *rest, **options
        )
        first = found.first and found.first.map(lambda t: t[None])
        return MetaGradient(found.gradient, found.losses[None], first)

    return run
