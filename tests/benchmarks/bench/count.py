"""How many operations a meta-gradient takes, counted by hand.

A layer's forward pass over a batch takes f operations (two for each multiplication with a weight);
F is the sum over the layers, f₁ the first one's. Its weight gradient takes f again, and so does its
input gradient, which nobody needs at the first layer. So one plain training step is

    forward F  +  weight gradients F  +  input gradients F − f₁   =   3F − f₁

and going backward through that step, from cotangents of its weight gradients, is

    through the weight gradients:   to the error signals F,  to the layers' inputs F
    through the input gradients:    to the error signals F − f₁,  to the weights F − f₁
    through the forward pass:       to the weights F,  to the layers' inputs F

where step 0 needs nothing "to the weights", and all other steps nothing to the pictures (f₁ less,
twice): 4F − f₁ and 6F − 4f₁. Matrix products and convolutions alone are counted; ReLU, pooling,
batch norm, the loss and the update of the weights take time but hardly any operations. What nobody
needs, a graph leaves out; but where a convolution gives one of its two gradients it gives both, so
ConvNet's adjoint computes some weight gradients for nothing, of the poisoned rows.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn


@dataclasses.dataclass(frozen=True)
class Forward:
    """Operations of a forward pass over one picture: of all layers, the first and the second."""

    all: float
    first: float
    second: float

    @property
    def step(self) -> float:
        """A plain training step, for each picture of the batch."""
        return 3 * self.all - self.first

    @property
    def graph(self) -> float:
        """What a step computes that going back needs, without its weight gradients: the forward
        pass and the error signals."""
        return 2 * self.all - self.first

    @property
    def back_to_pixels(self) -> float:
        """Backward through step 0, for each picture."""
        return 4 * self.all - self.first

    @property
    def back_to_weights(self) -> float:
        """Backward through any later step, for each picture."""
        return 6 * self.all - 4 * self.first


def forward_operations(module: nn.Module, shape: tuple[int, int, int]) -> Forward:
    """Counted from the shapes that one picture (C, H, W) has on its way through `module`."""
    found = []

    def count(layer: nn.Module, _, out: torch.Tensor) -> None:
        positions = math.prod(out.shape[2:])  # of a convolution; 1 for a linear layer
        found.append(2.0 * layer.weight.numel() * positions)

    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        weight = next(module.parameters())
        module.eval()(torch.zeros(1, *shape, dtype=weight.dtype))
    for handle in handles:
        handle.remove()
    return Forward(sum(found), *found[:2])


def meta_gradient_operations(
    f: Forward, strategy: str, batch: int, rows: int, steps: int, statistics: bool
) -> float:
    """One model's meta-gradient: pixels count in the first step only, one target, mean of K losses.

    What the adjoint saves: without batch `statistics` it needs the poisoned `rows` alone on the way
    back through step 0, and builds the graph for them a second time. The lean one builds all graphs
    but the last a second time, without the first layer's error signal where pixels are constant.
    """
    targets = steps * f.step  # L_adv of one picture and its gradient, after each step
    total = targets + batch * (steps * f.step + (steps - 1) * f.back_to_weights)
    if strategy == "reverse" or statistics:
        total += batch * f.back_to_pixels
    else:
        total += rows * (f.graph + f.back_to_pixels)
    if strategy == "adjoint-lean":
        total += batch * max(steps - 2, 0) * (f.graph - f.second)
        total += batch * (steps > 1 and statistics) * f.graph
    return total
