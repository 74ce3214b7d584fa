"""How an attacker may change a picture, as functions of parameters that can be optimised.

poison = recolour(base, g) + δ (paper, section 3.3): an additive perturbation |δ| ≤ ε, and a smooth
colour change |g| ≤ ε_c. Pictures and bounds are in units of pixel value, [0, 1]; ε = 8/255.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad

Parameters = dict[str, Tensor]

# BT.601, the YUV of the official code's colour grid; rows are Y, U, V.
RGB_TO_YUV = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]
)
YUV_LOW, YUV_HIGH = torch.tensor([0.0, -0.436, -0.615]), torch.tensor([1.0, 0.436, 0.615])


class Perturbation(Protocol):
    """Parameters → poison images, as a value. P poisons; bases (P, C, H, W) in [0, 1]."""

    names: tuple[str, ...]
    """What its parameters are called."""
    bounded_by: tuple[str, ...]
    """Which of `Settings`' bounds act: "epsilon", "epsilon_c", or both."""

    def init(self, bases: Tensor, epsilon: float, generator: torch.Generator) -> Parameters:
        """Where crafting starts."""

    def random(
        self, bases: Tensor, epsilon: float, epsilon_c: float, generator: torch.Generator
    ) -> Parameters:
        """Parameters drawn evenly from all that the bounds allow: the noise control."""

    def apply(self, parameters: Parameters, bases: Tensor) -> Tensor:
        """Poison images (P, C, H, W), differentiable in the parameters."""

    def penalty(self, parameters: Parameters) -> Tensor:
        """A scalar added to the crafting loss (smoothness of colours)."""

    def project(
        self, parameters: Parameters, bases: Tensor, epsilon: float, epsilon_c: float
    ) -> Parameters:
        """The nearest parameters within the bounds whose pictures lie in [0, 1]."""

    def bounds(self, epsilon: float, epsilon_c: float) -> Parameters | dict[str, float]:
        """The bound of each parameter, in whose unit its learning rate is given. What ε bounds may
        move no pixel by more than ε (see `to_8bit`)."""


class Additive:
    """poison = base + δ, |δ| ≤ ε. δ starts uniform in ±ε."""

    names, bounded_by = ("delta",), ("epsilon",)

    def init(self, bases: Tensor, epsilon: float, generator: torch.Generator) -> Parameters:
        noise = torch.rand(bases.shape, generator=generator, dtype=torch.float32) * 2 - 1
        return {"delta": (epsilon * noise).to(bases)}

    def random(
        self, bases: Tensor, epsilon: float, epsilon_c: float, generator: torch.Generator
    ) -> Parameters:
        levels = int(255 * epsilon + 1e-6)  # whole ones, each as likely as the others
        noise = torch.randint(-levels, levels + 1, bases.shape, generator=generator)
        return {"delta": (noise / 255).to(bases)}

    def apply(self, parameters: Parameters, bases: Tensor) -> Tensor:
        return bases + parameters["delta"]

    def penalty(self, parameters: Parameters) -> Tensor:
        return parameters["delta"].new_zeros(())

    def project(
        self, parameters: Parameters, bases: Tensor, epsilon: float, epsilon_c: float
    ) -> Parameters:
        delta = parameters["delta"].clamp(-epsilon, epsilon)
        return {"delta": (bases + delta).clamp(0, 1) - bases}

    def bounds(self, epsilon: float, epsilon_c: float) -> dict[str, float]:
        return {"delta": epsilon}


class Recolor:
    """A colour change per picture: a grid over the YUV cube holding an offset per cell, |g| ≤ ε_c.

    The offset of a pixel is read from the grid at the pixel's own colour by trilinear interpolation
    (ReColorAdv, Laidlaw & Feizi 2019), so equal colours change equally. Grey pictures have
    brightness alone: their grid is a line. `smoothness` weighs the mean squared difference of
    neighbouring cells (official code: 10).
    """

    names, bounded_by = ("grid",), ("epsilon_c",)

    def __init__(self, cells: int = 10, smoothness: float = 10.0):
        if cells < 2:
            raise ValueError(f"a colour grid needs at least 2 cells along each axis, not {cells}")
        self.cells, self.smoothness = cells, smoothness

    def init(self, bases: Tensor, epsilon: float, generator: torch.Generator) -> Parameters:
        p, channels = bases.shape[:2]
        if channels not in (1, 3):
            raise ValueError(f"recolouring is for grey or RGB pictures, not {channels} channels")
        axes = (self.cells,) * channels
        return {"grid": bases.new_zeros(p, channels, *axes)}

    def random(
        self, bases: Tensor, epsilon: float, epsilon_c: float, generator: torch.Generator
    ) -> Parameters:
        shape = self.init(bases, epsilon, generator)["grid"].shape
        noise = torch.rand(shape, generator=generator, dtype=torch.float32) * 2 - 1
        return {"grid": (epsilon_c * noise).to(bases)}

    def apply(self, parameters: Parameters, bases: Tensor) -> Tensor:
        grid = parameters["grid"]
        if bases.shape[1] == 1:
            return (bases + _read_line(grid, bases)).clamp(0, 1)
        to_yuv = RGB_TO_YUV.to(bases)
        low, high = YUV_LOW.to(bases), YUV_HIGH.to(bases)
        yuv = torch.einsum("ij,pjhw->phwi", to_yuv, bases)
        where = ((yuv - low) / (high - low) * 2 - 1).flip(
            -1
        )  # grid_sample wants the last axis first
        # (P, H, W, 3) places in a (P, 3, Y, U, V) volume: one slice deep.
        offset = F.grid_sample(grid, where[:, None], align_corners=True, padding_mode="border")[
            :, :, 0
        ]
        moved = torch.einsum("ij,pjhw->pihw", torch.linalg.inv(to_yuv), offset)
        return (bases + moved).clamp(0, 1)  # valid, so that δ on top of it stays within ε as well

    def penalty(self, parameters: Parameters) -> Tensor:
        grid = parameters["grid"]
        steps = [grid.diff(dim=d).square().mean() for d in range(2, grid.dim())]
        return self.smoothness * torch.stack(steps).mean()

    def project(
        self, parameters: Parameters, bases: Tensor, epsilon: float, epsilon_c: float
    ) -> Parameters:
        return {"grid": parameters["grid"].clamp(-epsilon_c, epsilon_c)}

    def bounds(self, epsilon: float, epsilon_c: float) -> dict[str, float]:
        return {"grid": epsilon_c}


def _read_line(grid: Tensor, bases: Tensor) -> Tensor:
    """grid (P, 1, n) read at brightness bases (P, 1, H, W) by linear interpolation."""
    cells = grid.shape[-1]
    at = bases.clamp(0, 1) * (cells - 1)
    low = at.floor().long().clamp(max=cells - 2)
    flat, line = low.flatten(1), grid[:, 0]
    left, right = (line.gather(1, flat + i).view_as(at) for i in (0, 1))
    return left + (at - low) * (right - left)


class Composed:
    """First recolour, then add δ: poison = recolour(base, g) + δ (paper, eq. 5)."""

    names, bounded_by = ("grid", "delta"), ("epsilon", "epsilon_c")

    def __init__(self, recolor: Recolor | None = None, additive: Additive | None = None):
        self.recolor, self.additive = recolor or Recolor(), additive or Additive()

    def init(self, bases: Tensor, epsilon: float, generator: torch.Generator) -> Parameters:
        return self.recolor.init(bases, epsilon, generator) | self.additive.init(
            bases, epsilon, generator
        )

    def random(
        self, bases: Tensor, epsilon: float, epsilon_c: float, generator: torch.Generator
    ) -> Parameters:
        given = bases, epsilon, epsilon_c, generator
        return self.additive.random(*given) | self.recolor.random(*given)

    def apply(self, parameters: Parameters, bases: Tensor) -> Tensor:
        return self.additive.apply(parameters, self.recolor.apply(parameters, bases))

    def penalty(self, parameters: Parameters) -> Tensor:
        return self.recolor.penalty(parameters)

    def project(
        self, parameters: Parameters, bases: Tensor, epsilon: float, epsilon_c: float
    ) -> Parameters:
        colours = self.recolor.project(parameters, bases, epsilon, epsilon_c)
        recoloured = self.recolor.apply(colours, bases)
        return colours | self.additive.project(parameters, recoloured, epsilon, epsilon_c)

    def bounds(self, epsilon: float, epsilon_c: float) -> dict[str, float]:
        return {"grid": epsilon_c, "delta": epsilon}


PERTURBATIONS: dict[str, Perturbation] = {
    "additive": Additive(),
    "recolor": Recolor(),
    "both": Composed(),
}
"""The perturbations by name."""


def pulled_back(
    perturbation: Perturbation, parameters: Parameters, bases: Tensor, gradient: Tensor
) -> Parameters:
    """A gradient with respect to pixels (P, C, H, W), and that of the penalty, taken on to the
    perturbation's own parameters."""

    def inner(own: Parameters) -> Tensor:
        return (perturbation.apply(own, bases) * gradient).sum() + perturbation.penalty(own)

    return grad(inner)(parameters)


def adam(
    parameters: Parameters,
    moments: tuple[Parameters, Parameters],
    slopes: Parameters,
    rates: dict[str, float],
    step: int,
) -> tuple[Parameters, Parameters, Parameters]:
    """Step number `step` (from 0) of Adam (β 0.9, 0.999; Kingma & Ba 2015), each parameter at its
    own rate: (parameters, first moments, second moments)."""
    first = {k: 0.9 * moments[0][k] + 0.1 * g for k, g in slopes.items()}
    second = {k: 0.999 * moments[1][k] + 0.001 * g * g for k, g in slopes.items()}
    moved = {}
    for k, p in parameters.items():
        mean, spread = first[k] / (1 - 0.9 ** (step + 1)), second[k] / (1 - 0.999 ** (step + 1))
        moved[k] = p - rates[k] * mean / (spread.sqrt() + 1e-12)
    return moved, first, second


def to_8bit(
    perturbation: Perturbation, parameters: Parameters, bases: Tensor, epsilon: float
) -> Tensor:
    """The poisons as pictures: uint8 (P, C, H, W), valid, and still within ε after rounding.

    Within ε of the centre: the picture with all at zero that ε bounds (`Perturbation.bounds`), such
    as the recoloured base. A pixel that rounding would carry farther is rounded the other way.
    Where no grey level is that near, which takes a recoloured pixel and ε under half a level, the
    centre itself is rounded.
    """
    with torch.no_grad():
        images = perturbation.apply(parameters, bases)
        bounds = perturbation.bounds(1.0, 0.0).items()
        zero = {k: torch.zeros_like(parameters[k]) for k, b in bounds if torch.as_tensor(b).any()}
        centre = perturbation.apply(parameters | zero, bases)
        slack = 1e-3  # of one grey level: float32 rounding of a pixel that sits on the bound
        nearest = (255 * centre).round_()  # within the bound, if any level is
        low = (255 * (centre - epsilon)).sub_(slack).ceil_().minimum(nearest)
        high = (255 * (centre + epsilon)).add_(slack).floor_().maximum(nearest)
        return (255 * images).round_().clamp_(low, high).clamp_(0, 255).to(torch.uint8)
