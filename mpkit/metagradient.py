"""The gradient of the adversarial loss with respect to poison pixels, through K training steps.

Unrolled training (paper, eq. 3–4):

    w_{k+1} = w_k − lr · ∇CE(w_k; B_k),  k = 0 … K−1,      loss = mean_k L_adv(w_k)  or  L_adv(w_K)

`reverse` differentiates that program as it stands. `adjoint` walks the chain rule back step by
step: with λ_K = ∂loss/∂w_K,

    λ_k = λ_{k+1} − lr · ∇²CE(w_k) λ_{k+1} + ∂loss/∂w_k
    ∂loss/∂x_k = −lr · ∂ₓ⟨∇CE(w_k; B_k), λ_{k+1}⟩

which, but for ∂loss/∂w_k, is what the step's `vjp` makes of λ_{k+1}. So λ_0 can be left out, and at
step 0 all rows but the poisons', unless batch statistics couple them; and activations need be kept
of one step only. Both are about one model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad, vjp
from torch.utils._pytree import tree_map

from mpkit.batches import Batches
from mpkit.functional import State
from mpkit.scenario import TargetLoss
from mpkit.training import sgd_step, unroll

Adversarial = Callable[[State, Tensor], Tensor]
"""(state, the batch (B, C, H, W) before it) → L_adv (). The batch is what batch norm may need."""


class MetaGradient(NamedTuple):
    """`gradient` (P, C, H, W), `loss` (), and the state w₁ after a step on B_0 with its poisons,
    which a surrogate that trains on poisons takes."""

    gradient: Tensor
    loss: Tensor
    first: State


def reverse(
    module: nn.Module,
    adversarial_loss: Adversarial,
    poisons: Tensor,
    state: State,
    batches: Batches,
    lr: Tensor,
    *,
    average: str = "mean",
    poisoned_steps: str = "first",
) -> MetaGradient:
    """Backpropagation through the unrolled program (paper, Algorithm 1, line 9; slide 6).

    poisons (P, C, H, W), lr (). `average`: L_adv over w_1 … w_K ("mean", official code) or of w_K
    alone ("last", paper). `poisoned_steps`: pixels count as variables in the "first" step only
    (official code) or in "all" (paper). Memory grows with K's activations.
    """

    def unrolled(poisons: Tensor):
        rows = batches.rows(poisons)
        if poisoned_steps == "first":
            rows = [rows[0], *rows[1:].detach()]
        pixels = [batches.fill(r, k) for k, r in enumerate(rows)]
        states = unroll(module, state, zip(pixels, batches.y, strict=True), lr)
        looked = list(zip(states, pixels, strict=True))[0 if average == "mean" else -1 :]
        loss = sum(adversarial_loss(w, x) for w, x in looked) / len(looked)
        return loss, (loss, states[0])

    gradient, (loss, first) = grad(unrolled, has_aux=True)(poisons)
    return MetaGradient(gradient, loss, first)


def adjoint(
    module: nn.Module,
    adversarial_loss: Adversarial,
    poisons: Tensor,
    state: State,
    batches: Batches,
    lr: Tensor,
    *,
    average: str = "mean",
    poisoned_steps: str = "first",
    keep: int = 16,
    replay: bool = False,
) -> MetaGradient:
    """The same gradient as `reverse`, by the adjoint recursion above; the arguments are the same.

    The graphs of the last `keep` steps are kept from the way out; those of earlier steps are built
    again on the way back, one at a time, so that memory does not grow with K's activations. With
    `replay` it does not grow with K's weights either: each w_k is trained again, from w_0, when it
    is wanted, which takes K²/2 training steps more.
    """
    steps = len(batches.x)
    # All K times R rows at once take less time, and more memory.
    rows = partial(batches.rows, poisons) if replay else batches.rows(poisons).__getitem__
    weight = 1 / steps if average == "mean" else 1.0

    def step(k: int, w: State, r: Tensor) -> State:
        return sgd_step(module, w, batches.fill(r, k), batches.y[k], lr)[0]

    def linear(k: int, w: State) -> tuple[State, Callable]:
        """w_{k+1}, and what takes λ_{k+1} back: to B_0's rows, to w_k, or to w_k and B_k's rows."""
        if k == 0:
            return _first_step(module, w, rows(0), batches, lr)
        if poisoned_steps == "all":
            return vjp(partial(step, k), w, rows(k))
        return vjp(lambda w: step(k, w, rows(k)), w)

    def looked_at(w: State, r: Tensor, k: int) -> tuple[Tensor, Tensor]:
        value = weight * adversarial_loss(w, batches.fill(r, k))
        return value, value

    def at(k: int) -> State:
        if k not in states:
            states[k] = reduce(lambda w, j: step(j, w, rows(j)), range(k), state)
        return states[k]

    w, states, pulls = state, {0: state}, {}
    for k in range(steps):
        if k >= steps - keep:
            pulls[k] = linear(k, w)
            w = pulls[k][0]
        else:
            w = step(k, w, rows(k))
        if not replay or k == steps - 1:
            states[k + 1] = w

    cotangent, by_rows, loss = None, torch.zeros_like(rows(0)), 0
    for k in range(steps, 0, -1):
        if cotangent is not None:
            pull = (pulls.pop(k, None) or linear(k, at(k)))[1]
            cotangent, *found = pull(cotangent)
            del pull  # the graph, before another is built
            by_rows = sum(found, by_rows)
        if average == "mean" or k == steps:
            look = grad(looked_at, argnums=(0, 1), has_aux=True)
            (slope, found), own = look(at(k), rows(k - 1), k - 1)
            loss = loss + own
            cotangent = slope if cotangent is None else tree_map(torch.add, cotangent, slope)
            if k == 1 or poisoned_steps == "all":  # batch norm may see the rows beside the target
                by_rows = by_rows + found
        if replay:
            states.pop(k, None)
    first, pull = pulls.pop(0, None) or linear(0, state)
    (found,) = pull(cotangent)
    return MetaGradient(batches.scatter(by_rows + found, poisons), loss, states.get(1, first))


def _first_step(
    module: nn.Module, state: State, rows: Tensor, batches: Batches, lr: Tensor
) -> tuple[State, Callable]:
    """w₁, and what takes λ₁ back to the rows of B_0 that may be poisons."""
    y = batches.y[0]
    if state.stats:
        return vjp(lambda r: sgd_step(module, state, batches.fill(r, 0), y, lr)[0], rows)
    # Without batch statistics a row's share of the gradient is its own business.
    n, first = len(rows), sgd_step(module, state, batches.fill(rows, 0), y, lr)[0]
    rate = lr * (n / len(y))
    return first, vjp(lambda r: sgd_step(module, state, r, y[:n], rate)[0], rows)[1]


METAGRADIENTS: dict[str, Callable[..., MetaGradient]] = {
    "auto": adjoint,
    "reverse": reverse,
    "adjoint": adjoint,
    "adjoint-lean": partial(adjoint, keep=1),
    "adjoint-flat": partial(adjoint, keep=1, replay=True),
}
"""The strategies by name: each is a value, called as `reverse` is. "adjoint" keeps the graphs of up
to sixteen steps, which is faster where memory allows; "adjoint-lean" keeps one; "adjoint-flat" one,
and no weights between the first step's and the last's, for networks of many weights."""


def meta_gradient(module: nn.Module, strategy: Callable, aim: tuple, how: tuple, *given):
    """One surrogate's `MetaGradient` of one batch: the function that is traced.

    `aim`: kind, κ and goal of `TargetLoss`; `how`: `average` and `poisoned_steps`; `given` are the
    tensors: state, poisons (P, C, H, W), `Batches`, lr (), targets and their adversarial classes.
    """
    state, poisons, batches, lr, *targets = given
    loss = TargetLoss(module, *aim, *targets)
    options = {"average": how[0], "poisoned_steps": how[1]}
    return strategy(module, loss, poisons, state, batches, lr, **options)
