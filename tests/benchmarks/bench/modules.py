"""The networks as their peers would be given them: without what mpkit does for speed.

ReLU before the pool, torch's own convolution, and batch norm in plain operations as one would write
it (`nn.BatchNorm2d` will not do: its running statistics carry no gradient, so L_adv by running
statistics loses a term). Weights have the same names, so a state fits both.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mpkit.functional import BatchNorm2d as OurBatchNorm2d
from mpkit.functional import Conv2d as OurConv2d


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
    """`module`, made of mpkit's layers, in the customary ones; weights still have to be loaded."""
    layers = list(module.features)
    for i, (layer, after) in enumerate(pairwise(layers)):
        if isinstance(layer, nn.MaxPool2d) and isinstance(after, nn.ReLU):
            layers[i], layers[i + 1] = after, nn.MaxPool2d(layer.kernel_size)
    module.features = nn.Sequential(*[_customary(layer) for layer in layers])
    return module


def _customary(layer: nn.Module) -> nn.Module:
    if isinstance(layer, OurBatchNorm2d):
        return BatchNorm2d(len(layer.weight))
    if isinstance(layer, OurConv2d):
        i, o, size = layer.in_channels, layer.out_channels, layer.kernel_size
        return nn.Conv2d(i, o, size, layer.stride, layer.padding, bias=layer.bias is not None)
    return layer
