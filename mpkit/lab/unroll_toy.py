"""Training small enough to be differentiated while a slider moves: points in the plane.

Two classes, a small network that has been trained a little, a target that it classifies rightly,
and a few poisons: correctly labelled points of the other class (slides 5–6).
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad

Params = dict[str, Tensor]


def network(params: Params, x: Tensor) -> Tensor:
    """Logits (N, 2) of points x (N, 2): one hidden layer with tanh."""
    return torch.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]


def sgd_step(params: Params, x: Tensor, y: Tensor, lr: float) -> Params:
    """w − lr·∇CE(w; x, y)."""
    slopes = grad(lambda p: F.cross_entropy(network(p, x), y))(params)
    return {name: w - lr * slopes[name] for name, w in params.items()}


@dataclasses.dataclass(frozen=True)
class Toy:
    """x (N, 2) and y (N,) clean points, `poisons` (P, 2) of class 1, `target` (1, 2) of class 0,
    and the weights at which the attacker begins to look ahead."""

    x: Tensor
    y: Tensor
    poisons: Tensor
    target: Tensor
    params: Params

    def unroll(self, poisons: Tensor, steps: int, lr: float) -> list[Params]:
        """The weights w_0 … w_K of K steps on clean points and poisons together."""
        x, path = torch.cat([poisons, self.x]), [self.params]
        y = torch.cat([torch.ones(len(poisons), dtype=torch.long), self.y])
        for _ in range(steps):
            path.append(sgd_step(path[-1], x, y, lr))
        return path

    def adversarial_loss(self, params: Params) -> Tensor:
        """The score of class 0 minus that of class 1, for the target: below zero it is fooled."""
        scores = network(params, self.target)[0]
        return scores[0] - scores[1]

    def look_ahead(self, poisons: Tensor, steps: int, lr: float):
        """∂L_adv(w_K)/∂poisons (P, 2), and the path w_0 … w_K that it was taken through."""

        def loss(points: Tensor):
            path = self.unroll(points, steps, lr)
            return self.adversarial_loss(path[-1]), path

        return grad(loss, has_aux=True)(poisons)


def make_toy(seed: int = 0, points: int = 40, poisons: int = 4, warmup: int = 60) -> Toy:
    """Points drawn by a seed, and a network trained on the clean ones for `warmup` steps."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.randn(*size, generator=g)  # noqa: E731
    half = points // 2
    x = torch.cat([0.42 * draw(half, 2) + torch.tensor([c, 0.0]) for c in (-1.0, 1.0)])
    y = torch.arange(2).repeat_interleave(half)
    bad = 0.25 * draw(poisons, 2) + torch.tensor([0.7, 0.9])
    params = {"w1": draw(2, 16), "b1": 0.5 * draw(16), "w2": 0.3 * draw(16, 2), "b2": draw(2) * 0}
    toy = Toy(x, y, bad, torch.tensor([[-0.45, 0.75]]), params)
    for _ in range(warmup):
        params = sgd_step(params, x, y, 0.3)
    return dataclasses.replace(toy, params={k: w.detach() for k, w in params.items()})
