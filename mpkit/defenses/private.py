"""DP-SGD: no picture moves the weights far, and noise hides how far (Abadi et al. 2016).

Its ε is another one than the attack's bound on δ: it is called ε_DP here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad_and_value, vmap

from mpkit.defenses.defense import Defense
from mpkit.defenses.trainee import Trainee
from mpkit.functional import State, logits
from mpkit.layers import BatchNorm2d
from mpkit.recipe import Recipe
from mpkit.streams import batches_of, generator
from mpkit.tracing import traced

LARGEST = 1 << 22
"""Numbers in the gradients of the pictures that are looked at side by side: 16 MB, as more of them
take longer to fetch than to compute."""


class Private(Trainee):
    """Learns by clipped and noisy gradients. A batch has each picture with the same probability, by
    itself (Poisson sampling), as the accountant's theorem assumes: `batch` is the size to expect.
    Raises ValueError for a network with batch norm."""

    def __init__(self, module, x, y, recipe: Recipe, seed: int, defense: Defense):
        refuse_batch_norm(module)
        super().__init__(module, x, y, recipe, seed, defense)
        self.expected = min(recipe.batch, len(y))
        numbers = sum(w.numel() for w in self.state.params.values())
        self.several = max(1, min(self.expected, LARGEST // numbers))
        self.noise = generator(seed, "private")

    def rows(self, epoch: int) -> Iterator[Tensor]:
        noise = generator(self.seed, "epoch", epoch)
        for _ in range(batches_of(len(self.y), self.recipe.batch)):
            drawn = torch.rand(len(self.y), generator=noise) < self.expected / len(self.y)
            yield drawn.nonzero().flatten().to(self.y.device)

    def step(self, x: Tensor, y: Tensor, lr: Tensor) -> Tensor:
        total = {k: torch.zeros_like(w) for k, w in self.state.params.items()}
        loss, clip = lr.new_zeros(()), self.defense.clip_norm
        summed = traced(clipped_sum, self.module, clip)
        for first in range(0, len(y), self.several):  # an empty batch only adds noise
            rows = torch.arange(first, first + self.several, device=y.device)
            weight = (rows < len(y)).to(x)
            rows = rows.clamp(max=len(y) - 1)  # of one shape, as what is traced must be
            slopes, value = summed(self.state, x[rows], y[rows], weight)
            total = {k: g + slopes[k] for k, g in total.items()}
            loss = loss + value
        self._move(total, lr)
        return loss / max(1, len(y))

    def _move(self, total: dict[str, Tensor], lr: Tensor) -> None:
        """torch.optim.SGD's step by the noisy mean gradient."""
        r, held, moved = self.recipe, self.state, {}
        spread = self.defense.noise_multiplier * self.defense.clip_norm
        for k, w in held.params.items():
            drawn = torch.randn(w.shape, generator=self.noise).to(w)
            slope = (total[k] + spread * drawn) / self.expected + r.weight_decay * w
            if r.momentum:
                slope = self.velocity[k] = r.momentum * self.velocity[k] + slope
            moved[k] = w - lr * slope
        self.state = State(moved, held.stats)


def clipped_sum(
    module: nn.Module, clip: float, state: State, x: Tensor, y: Tensor, weight: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Σ weight_i · g_i · min(1, clip/‖g_i‖) by parameter, g_i = ∇CE(w; x_i, y_i), and Σ weight_i ·
    CE_i (); x (B, …), y (B,), weight (B,)."""

    def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        z, _ = logits(module, State(params, state.stats), x[None])
        return F.cross_entropy(z, y[None])

    slopes, losses = vmap(grad_and_value(loss), (None, 0, 0))(state.params, x, y)
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in slopes.values()])
    factor = weight * clip / torch.linalg.vector_norm(norms, dim=0).clamp(min=clip)
    found = {k: (factor @ g.flatten(1)).view(g.shape[1:]) for k, g in slopes.items()}
    return found, weight @ losses


def refuse_batch_norm(module: nn.Module) -> None:
    """Raises ValueError where a layer that trains has no gradient of one picture alone."""
    kinds = (BatchNorm2d, nn.modules.batchnorm._BatchNorm)
    if any(isinstance(layer, kinds) for layer in module.modules()):
        raise ValueError(
            "dp-sgd clips the gradient of each picture, and batch norm makes it depend on the "
            "others: use a network without batch norm (convnet, mlp, vgg13), or train a last layer "
            "alone (fine_tune last)"
        )


def privacy_told(n: int, recipe: Recipe, defense: Defense) -> str:
    """What dp-sgd on n pictures spends, in words: "ε_DP = 12.3 at δ = 1e-05"; "" for others."""
    if defense.defense != "dp-sgd":
        return ""
    try:
        spent, delta = privacy_spent(n, recipe, defense), 1e-5
    except ImportError as error:
        return str(error)
    return f"ε_DP = {spent:.3g} at δ = {delta:g}"


def privacy_spent(n: int, recipe: Recipe, defense: Defense, delta: float = 1e-5) -> float:
    """ε_DP of a model that dp-sgd trained on n pictures, at probability `delta` of a worse leak; by
    the Rényi accountant of Opacus. Infinite without noise. Raises ImportError naming the extra."""
    try:
        from opacus.accountants import RDPAccountant
    except ImportError as error:
        raise ImportError(
            'ε_DP is counted by Opacus, which is not installed: pip install "mpkit[privacy]"'
        ) from error
    if not defense.noise_multiplier:
        return float("inf")
    accountant = RDPAccountant()
    steps = recipe.epochs * batches_of(n, recipe.batch)
    rate = min(recipe.batch, n) / n
    accountant.history = [(defense.noise_multiplier, rate, steps)]
    with warnings.catch_warnings():  # at the ends of its range the bound holds, and is looser
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))
