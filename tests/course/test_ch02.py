"""Chapter 02: what its exercises take for right."""

from __future__ import annotations

import matplotlib as mpl
import torch
import torch.nn.functional as F
from torch.func import grad

from mpkit.course import check

mpl.use("Agg")


def test_the_residual_of_the_exercise_is_the_gradient_of_ce():
    z = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log() + 1.7
    slope = grad(lambda z: F.cross_entropy(z[None], torch.tensor([1])))(z)
    assert check("02.residual", tuple(slope)).right
    assert check("02.residual", slope).right


def test_any_right_step_will_do():
    def by_hand(network, params, x, y, lr):
        leaves = {k: w.clone().requires_grad_() for k, w in params.items()}
        loss = -network(leaves, x).log_softmax(1)[torch.arange(len(y)), y].mean()
        slopes = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        return {k: w - lr * s for (k, w), s in zip(params.items(), slopes, strict=True)}

    verdict = check("02.step", by_hand)
    assert verdict.right, str(verdict)
