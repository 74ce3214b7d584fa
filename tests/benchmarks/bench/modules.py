"""The networks as their peers would be given them: without what mpkit does for speed.

Pictures in the layout they are handed over in, ReLU before the pool, and batch norm in plain
operations as one would write it (`nn.BatchNorm2d` will not do: its running statistics carry no
gradient, so L_adv by running statistics loses a term). Weights have the same names, so a state fits
both.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from mpkit import layers
from mpkit.networks import Normalize


class BatchNorm2d(nn.Module):
    """Normalises by the batch when training, by running statistics when evaluating."""

    momentum, epsilon = 0.1, 1e-5

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x, (0, 2, 3), correction=0)
            n = x.numel() // x.shape[1]
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
            self.running_var.mul_(1 - self.momentum).add_(self.momentum * var * (n / (n - 1)))
        scale = self.weight * torch.rsqrt(var + self.epsilon)
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


def conventional(module: nn.Sequential) -> nn.Sequential:
    """A copy of mpkit's `module` in the customary layers; weights still have to be loaded."""
    module = copy.deepcopy(module).to_empty(device="cpu")
    parts = list(module.features)
    for i, (part, after) in enumerate(pairwise(parts)):
        if isinstance(part, nn.MaxPool2d) and isinstance(after, nn.ReLU):
            parts[i], parts[i + 1] = after, nn.MaxPool2d(part.kernel_size)
    module.features = nn.Sequential(*map(_customary, parts))
    return module


def plain_norms(module: nn.Module) -> nn.Module:
    """`module` with the batch norm from here in place of mpkit's, and nothing else changed."""
    if not any(isinstance(part, layers.BatchNorm2d) for part in module.modules()):
        return module
    module = copy.deepcopy(module)
    with torch.device("meta"):
        for path, part in list(module.named_modules()):
            if isinstance(part, layers.BatchNorm2d):
                module.set_submodule(path, BatchNorm2d(len(part.weight)))
    return module


def _customary(part: nn.Module) -> nn.Module:
    if isinstance(part, layers.BatchNorm2d):
        return BatchNorm2d(len(part.weight))
    if isinstance(part, Normalize):
        part.channels_last = False
    return part
