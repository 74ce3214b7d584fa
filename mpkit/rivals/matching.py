"""Gradient matching (Geiping et al., "Witches' Brew", ICLR 2021, eq. 3).

    1 − cos(∇CE(w; x_t, y_adv), Σ ∇CE(w; poisons, y))

for a w that was trained on clean data. A victim that trains on such poisons then takes steps as if
it were trained on the target with the wrong label. At K = 1 the meta-gradient is
−lr·∂ₓ⟨∇CE(poisons), ∇L_adv(w₁)⟩: this is the same inner product with the other end at w, and
without the norms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, grad_and_value

from mpkit.device import Plan, for_models
from mpkit.functional import State, logits
from mpkit.rivals.passes import Gradients, added, mapped, parts
from mpkit.scenario import Scenario, TargetLoss
from mpkit.settings import Settings
from mpkit.tracing import settled, traced


def slope(module: nn.Module, state: State, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Σ ∇CE(w; x, y) by parameter, of poisons x (P, …) and their labels y (P,)."""

    def loss(params: dict[str, Tensor]) -> Tensor:
        z, _ = logits(module, State(params, state.stats), x, train=False)
        return F.cross_entropy(z, y, reduction="sum")

    return grad(loss)(state.params)


def mismatch(
    module: nn.Module, goal: str, state: State, found: dict[str, Tensor], x: Tensor, *aim: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """1 − cos of the poisons' gradient `found` and the target's, (), after its own gradient by
    `found`. `aim`: targets and their adversarial classes; x: poisons, which batch norm may need."""
    loss = TargetLoss(module, "cross-entropy", 0.0, goal, *aim)
    wanted = grad(lambda p: loss(State(p, state.stats), x))(state.params)

    def apart(found: dict[str, Tensor]) -> Tensor:
        # By name: sums depend on the order, and a state that was loaded may have another.
        names = sorted(wanted)
        flat = [torch.cat([tree[k].flatten() for k in names]) for tree in (found, wanted)]
        return 1 - F.cosine_similarity(*flat, dim=0, eps=1e-12)

    return grad_and_value(apart)(found)


def back(module: nn.Module, state: State, toward: dict[str, Tensor], x: Tensor, y: Tensor):
    """∂/∂x ⟨Σ ∇CE(w; x, y), toward⟩, of x's shape."""

    def product(x: Tensor) -> Tensor:
        found = slope(module, state, x, y)
        return sum((found[k] * toward[k]).sum() for k in sorted(found))

    return grad(product)(x)


def matching(
    module: nn.Module, sight: Scenario, surrogates: State, poisons: Tensor, s: Settings, plan: Plan
) -> Gradients:
    """See above; poisons (P, …) as surrogates see them."""
    y, goal = sight.train.y[sight.bases], sight.goal

    def work(models: slice, state: State):
        many, way = models.stop - models.start > 1, {"way": s.compute}
        one = traced(slope, module, in_dims=mapped(many, 0, None, None), **way)
        two = traced(mismatch, module, goal, in_dims=mapped(many, 0, 0, None, None, None), **way)
        three = traced(back, module, in_dims=mapped(many, 0, 0, None, None), **way)
        found = added(one(state, *part) for part in parts(poisons, y))
        toward, loss = two(state, found, poisons[:125], sight.targets, sight.adversarial)
        slopes = [three(state, toward, *part) for part in parts(poisons, y)]
        return torch.cat(slopes, 1 if many else 0), loss

    return settled(for_models(plan, surrogates.models, work, surrogates))
