"""Forward over reverse, as a variant of mpkit's adjoint (MixFlow-MG, Kemaev et al. 2025).

A Hessian is symmetric. So what takes a cotangent λ back through a step w − lr·∇CE(w; x) is also the
derivative of ∇CE in direction λ, and comes by forward mode:

    d/dε ∇_w CE(w + ελ; x) = ∇²CE λ,        d/dε ∇_x CE(w + ελ; x) = ∂ₓ⟨∇_w CE, λ⟩

No graph outlives its own step. Batch norm's running statistics are an ordinary function of weights
and pixels, and go back by reverse mode.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, jvp
from torch.utils._pytree import tree_map

from mpkit.batches import Batches
from mpkit.functional import State, logits
from mpkit.metagradient import Adversarial, MetaGradient
from mpkit.training import sgd_step


def forward_over_reverse(
    module: nn.Module,
    adversarial: Adversarial,
    poisons: Tensor,
    state: State,
    batches: Batches,
    lr: Tensor,
    **_: str,
) -> MetaGradient:
    """As mpkit's strategies: pixels count in the first step, L_adv is averaged over all steps, and
    must not look at the batch."""
    steps, rows, states = len(batches.x), batches.rows(poisons), [state]
    for k in range(steps):
        x = batches.fill(rows[k], k)
        states.append(sgd_step(module, states[k], x, batches.y[k], lr)[0])
    cotangent, loss = None, 0
    for k in range(steps, 0, -1):

        def look(w: State, x: Tensor = batches.x[k - 1]):
            value = adversarial(w, x) / steps
            return value, value

        slope, own = grad(look, has_aux=True)(states[k])
        cotangent = slope if cotangent is None else tree_map(torch.add, cotangent, slope)
        loss = loss + own
        if k > 1:
            x = batches.fill(rows[k - 1], k - 1)
            cotangent, _ = pulled(module, states[k - 1], x, batches.y[k - 1], lr, cotangent)
    r, y = rows[0], batches.y[0]
    if state.stats:
        _, found = pulled(module, state, batches.fill(r, 0), y, lr, cotangent)
    else:  # a row's share of the gradient is its own business
        share = lr * (len(r) / len(y))
        _, found = pulled(module, state, r, y[: len(r)], share, cotangent)
    return MetaGradient(batches.scatter(found[: len(r)], poisons), loss, states[1])


def pulled(module, state: State, x: Tensor, y: Tensor, lr: Tensor, cotangent: State):
    """λ_k of the state before a step, and of its pictures x, from λ_{k+1} = `cotangent`."""

    def training_loss(params: dict[str, Tensor], x: Tensor) -> Tensor:
        return F.cross_entropy(logits(module, State(params, state.stats), x)[0], y)

    def statistics(w: State, x: Tensor) -> Tensor:
        after = logits(module, w, x)[1].stats
        return sum((after[k] * c).sum() for k, c in cotangent.stats.items())

    slopes = grad(training_loss, argnums=(0, 1))
    _, (by_params, by_x) = jvp(lambda p: slopes(p, x), (state.params,), (cotangent.params,))
    params = {k: c - lr * by_params[k] for k, c in cotangent.params.items()}
    if not state.stats:
        return State(params, {}), -lr * by_x
    by_state, through = grad(statistics, argnums=(0, 1))(state, x)
    params = {k: c + by_state.params[k] for k, c in params.items()}
    return State(params, by_state.stats), through - lr * by_x
