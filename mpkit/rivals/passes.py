"""Poisons through a network in parts, so that there may be thousands of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

PART = 500
"""Poisons that are in a network at once."""


def parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of P rows in parts of at most `PART` rows."""
    return zip(*(t.split(PART) for t in tensors), strict=True)


def added(trees: Iterator):
    """Trees of tensors added up."""
    return reduce(lambda a, b: tree_map(torch.add, a, b), trees)


def mapped(many: bool, *dims: int | None) -> tuple | None:
    """`in_dims` of a function of one model, or of `many`."""
    return dims if many else None


Gradients = tuple[Tensor, Tensor]
"""(M, *poisons' shape) the gradient of each surrogate's loss, and the losses (M,)."""
Rival = Callable[..., Gradients]
"""(module, scenario as surrogates see it, their State, poisons as they see them, settings, plan) →
`Gradients`."""
