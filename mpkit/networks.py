"""The networks of the paper, for pictures of any size and number of channels.

Every network is ``Sequential(features, head)``: `features` ends in the penultimate layer (what
feature collision and most defenses look at), `head` is linear. Normalisation of the input belongs
to the network, so pictures stay in [0, 1] everywhere else. Sizes: the paper's appendix and official
code; He et al. 2016.
"""

from __future__ import annotations

import copy
import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpkit.layers import BatchNorm2d, by_batch

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


class Normalize(nn.Module):
    """(x − mean)/std per channel, with CIFAR-10's constants for colour and 0.5, 0.5 for grey.

    `channels_last` lays the result out as (B, H, W, C) in memory, on which convolutions on CPUs run
    up to twice as fast: in plain operations, since vmap does not know memory formats.
    """

    def __init__(self, channels: int, channels_last: bool = False):
        super().__init__()
        self.mean, self.std = (CIFAR_MEAN, CIFAR_STD) if channels == 3 else ((0.5,), (0.5,))
        self.channels_last = channels_last

    def extra_repr(self) -> str:
        return f"{self.mean}, {self.std}, channels_last={self.channels_last}"

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        if len(self.mean) == 1:  # plain numbers: two tensors less to make on every call
            return (x - self.mean[0]) / self.std[0]
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device) for v in (self.mean, self.std))
        return (x - mean[:, None, None]) / std[:, None, None]


Shape = tuple[int, int, int]


def _assemble(
    features: Sequence[nn.Module], width: int, classes: int, channels: int
) -> nn.Sequential:
    convolutional = any(isinstance(m, nn.Conv2d) for m in features)
    body = nn.Sequential(Normalize(channels, convolutional), *features)
    return nn.Sequential(OrderedDict(features=body, head=nn.Linear(width, classes)))


def mlp(
    shape: Shape, classes: int, hidden: Sequence[int] = (128, 128), evaluation: str = "running"
):
    """Fully connected ReLU layers of the given widths; for the digits."""
    widths = [math.prod(shape), *hidden]
    layers = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
    return _assemble([nn.Flatten(), *layers], widths[-1], classes, shape[0])


def convnet(shape: Shape, classes: int, batch_norm: bool = False, evaluation: str = "running"):
    """Five 3×3 convolutions of 16, 32, 32, 64, 64 channels, each (BN,) ReLU and 2×2 max pool.

    On pictures under 32 pixels the last pools, which would leave nothing, are left out.
    """
    channels, size, layers = shape[0], min(shape[1:]), []
    for width in (16, 32, 32, 64, 64):
        layers += [nn.Conv2d(channels, width, 3, padding=1)]
        layers += [BatchNorm2d(width, evaluation)] * batch_norm
        if size >= 2:
            layers, size = [*layers, nn.MaxPool2d(2)], size // 2
        layers += [nn.ReLU()]
        channels = width
    pools = sum(isinstance(m, nn.MaxPool2d) for m in layers)
    width = channels * (shape[1] >> pools) * (shape[2] >> pools)
    return _assemble([*layers, nn.Flatten()], width, classes, shape[0])


class InColour(nn.Module):
    """Grey pictures (B, 1, H, W) as three equal channels; colour as it is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, 3, -1, -1)


class Standardize(nn.Module):
    """(x − mean)/std of each feature of (B, width), by numbers that are kept with the weights: none
    until a pretrained network is saved (see `mpkit.runs.pretraining`)."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.empty(width))
        self.register_buffer("std", torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As if there were nothing to standardise."""
        nn.init.zeros_(self.mean)
        nn.init.ones_(self.std)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def convnet_small(shape: Shape, classes: int, evaluation: str = "running"):
    """Four 3×3 convolutions of 16, 32, 32, 64 channels, each with batch norm, ReLU and 2×2 max
    pool, and 2 · 2 · 64 = 256 standardised features: the network that ships with weights. So they
    fit pictures of any size and of one or three channels: small ones are pooled less often.
    """
    layers = [("colour", InColour()), ("normalize", Normalize(3, channels_last=True))]
    channels, size = 3, list(shape[1:])
    for i, width in enumerate((16, 32, 32, 64), 1):
        layers += [
            (f"conv{i}", nn.Conv2d(channels, width, 3, padding=1)),
            (f"norm{i}", BatchNorm2d(width, evaluation)),
        ]
        if min(size) >= 4:
            layers.append((f"pool{i}", nn.MaxPool2d(2)))
            size = [s // 2 for s in size]
        layers.append((f"relu{i}", nn.ReLU()))
        channels = width
    if size != [2, 2]:
        layers.append(("pool", nn.AdaptiveAvgPool2d(2)))
    layers += [("flatten", nn.Flatten()), ("standardize", Standardize(4 * channels))]
    features = nn.Sequential(OrderedDict(layers))
    return nn.Sequential(OrderedDict(features=features, head=nn.Linear(4 * channels, classes)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm, and a shortcut (1×1 where the shape changes)."""

    def __init__(self, before: int, width: int, stride: int, evaluation: str):
        super().__init__()
        conv, norm = partial(nn.Conv2d, bias=False), partial(BatchNorm2d, evaluation=evaluation)
        self.conv1, self.norm1 = conv(before, width, 3, stride, 1), norm(width)
        self.conv2, self.norm2 = conv(width, width, 3, 1, 1), norm(width)
        same = stride == 1 and before == width
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(conv(before, width, 1, stride), norm(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def _resnet(shape: Shape, classes: int, widths: Sequence[int], blocks: int, evaluation: str):
    channels = widths[0]
    layers = [
        nn.Conv2d(shape[0], channels, 3, padding=1, bias=False),
        BatchNorm2d(channels, evaluation),
        nn.ReLU(),
    ]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(BasicBlock(channels, width, 2 if stage and not block else 1, evaluation))
            channels = width
    return _assemble([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()], channels, classes, shape[0])


def resnet20(shape: Shape, classes: int, evaluation: str = "running"):
    """Three stages of three basic blocks, 16, 32, 64 channels: about 0.27 M parameters."""
    return _resnet(shape, classes, (16, 32, 64), 3, evaluation)


def resnet18(shape: Shape, classes: int, evaluation: str = "running"):
    """The CIFAR variant: a 3×3 stem, four stages of two blocks from 64 channels: about 11 M."""
    return _resnet(shape, classes, (64, 128, 256, 512), 2, evaluation)


def vgg13(shape: Shape, classes: int, evaluation: str = "running"):
    """VGG13 without batch norm and with a global max pool: about 9.4 M parameters."""
    channels, size, layers = shape[0], min(shape[1:]), []
    for width in (64, 128, 256, 512, 512):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        if size >= 2:
            layers, size = [*layers, nn.MaxPool2d(2)], size // 2
    return _assemble([*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten()], channels, classes, shape[0])


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "convnet": convnet,
    "convnet-bn": partial(convnet, batch_norm=True),
    "convnet-small": convnet_small,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "vgg13": vgg13,
}


def network(
    name: str, shape: Shape, classes: int, evaluation: str = "running", fused: bool = False
) -> nn.Module:
    """The network called `name` for pictures of `shape` (C, H, W), as a module without weights.

    Weights are a `mpkit.functional.State` beside it, made by `init`. The same arguments give the
    same module. `fused` batch norm is for victims, of which first derivatives alone are taken.
    Raises ValueError for a name that is not in `NETWORKS`, or an unknown `evaluation`.
    """
    if name not in NETWORKS:
        raise ValueError(f"network {name!r} is unknown; there are: {', '.join(NETWORKS)}")
    if evaluation not in ("running", "batch"):
        raise ValueError(f"batch norm evaluates by 'running' or 'batch', not {evaluation!r}")
    return _network(name, tuple(shape), classes, evaluation, fused)


@functools.lru_cache(maxsize=32)
def _network(name: str, shape: Shape, classes: int, evaluation: str, fused: bool) -> nn.Module:
    with torch.device("meta"):
        module = NETWORKS[name](shape, classes, evaluation=evaluation)
    for layer in module.modules():
        if isinstance(layer, BatchNorm2d):
            layer.fused = fused
    return module


def evaluations(module: nn.Module) -> dict[str | None, nn.Module]:
    """The module evaluated by either statistics of batch norm, its own first; {None: module}
    where it has no batch norm. "running" or "batch" → a module without weights of its own."""
    if not any(isinstance(m, BatchNorm2d) for m in module.modules()):
        return {None: module}
    first, other = ("batch", "running") if by_batch(module) else ("running", "batch")
    twin = copy.deepcopy(module)
    for layer in twin.modules():
        if isinstance(layer, BatchNorm2d):
            layer.evaluation = other
    return {first: module, other: twin}
