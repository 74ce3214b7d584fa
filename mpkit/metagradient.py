"""The gradient of the adversarial loss with respect to poison pixels, through K training steps.

Unrolled training (paper, eq. 3–4):

    w_{k+1} = w_k − lr · ∇CE(w_k; B_k),  k = 0 … K−1,      loss = mean_k L_adv(w_k)  or  L_adv(w_K)

`reverse` differentiates through that program as it stands. `adjoint` walks the same chain rule back
by hand: with λ_K = ∂loss/∂w_K,

    λ_k = λ_{k+1} − lr · ∇²CE(w_k) λ_{k+1} + ∂loss/∂w_k
    ∂loss/∂x_k = −lr · ∂ₓ⟨∇CE(w_k; B_k), λ_{k+1}⟩

which allows to skip what is not needed: λ_0; the graph of the first step, unless batch statistics
couple its rows; every row but the poisons' in the mixed derivative at step 0; and, if told so, all
stored activations. `matching` is gradient matching (Witches' Brew) in the same signature.

Every strategy handles M models at once; their poisons are shared, so gradients add up over models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mpkit.functional import Network, State
from mpkit.training import gradient, leaves, sgd_step

Adversarial = Callable[[State, Tensor], Tensor]
"""(stacked state, the pixels of a batch (M, B, C, H, W)) → L_adv of each model (M,)."""


@dataclasses.dataclass(frozen=True)
class Batches:
    """K batches for each of M models, poisons first.

    x (K, M, B, C, H, W) clean pictures, y (K, M, B) labels, slot (M, R): which poison stands in row
    r < R of every one of the K batches; P where that row is no poison. R may be zero.
    """

    x: Tensor
    y: Tensor
    slot: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, poisons: Tensor, k: int) -> Tensor:
        """(M, R, C, H, W) the first R rows of batch k with the poisons in their places."""
        extended = torch.cat([poisons, poisons.new_zeros(1, *poisons.shape[1:])])
        is_poison = (self.slot < len(poisons))[:, :, None, None, None]
        return torch.where(is_poison, extended[self.slot], self.x[k, :, : self.slot.shape[1]])

    def fill(self, rows: Tensor, k: int) -> Tensor:
        """(M, B, C, H, W) batch k with its first R rows replaced."""
        return torch.cat([rows, self.x[k, :, rows.shape[1] :]], 1)


@dataclasses.dataclass(frozen=True)
class MetaGradient:
    """`gradient` (P, C, H, W) summed over the models, `losses` (M,), and the state w₁ of the unroll
    (None where the strategy takes no step): a surrogate that trains on poisons has it for free."""

    gradient: Tensor
    losses: Tensor
    first: State | None = None


def reverse(
    network: Network,
    adversarial: Adversarial,
    poisons: Tensor,
    state: State,
    batches: Batches,
    lr: Tensor,
    average: str = "mean",
    poisoned_steps: str = "first",
) -> MetaGradient:
    """Backpropagation through the unrolled program (paper, Algorithm 1, line 9; slide 6).

    poisons (P, C, H, W), lr (M,). `average`: L_adv over w_1 … w_K ("mean", official code) or of w_K
    alone ("last", paper). `poisoned_steps`: pixels count as variables in "first" step only
    (official code) or in "all" (paper). Memory grows with K's activations.
    """
    poisons = poisons.detach().requires_grad_()
    state, total, first = leaves(state), 0, None
    for k in range(len(batches)):
        live = poisons if k == 0 or poisoned_steps == "all" else poisons.detach()
        x = batches.fill(batches.rows(live, k), k)
        state, _ = sgd_step(network, state, x, batches.y[k], lr, create_graph=True)
        first = first or state.map(Tensor.detach)
        if average == "mean" or k == len(batches) - 1:
            total = total + adversarial(state, x)
    losses = total / (len(batches) if average == "mean" else 1)
    (grad,) = torch.autograd.grad(losses.sum(), poisons)
    return MetaGradient(grad, losses.detach(), first)


def adjoint(
    network: Network,
    adversarial: Adversarial,
    poisons: Tensor,
    state: State,
    batches: Batches,
    lr: Tensor,
    average: str = "mean",
    poisoned_steps: str = "first",
    graphs: int = 1,
) -> MetaGradient:
    """The same gradient as `reverse`, by the adjoint recursion above; the arguments are the same.

    Only the states w_0 … w_K are stored. The graphs of the last `graphs` steps are kept from the
    way out; those of earlier steps are built again on the way back, one at a time, so that memory
    does not grow with K's activations.
    """
    count, names = len(batches), list(state.params)
    alone = not network.has_stats  # without batch statistics a row's gradient is its own business
    rows = [batches.rows(poisons.detach(), k) for k in range(count)]
    for r in rows if poisoned_steps == "all" else rows[:1]:
        r.requires_grad_()

    def step(k: int, graph: bool) -> tuple[list[Tensor], list[Tensor]]:
        """lr·∇CE(w_k; B_k) and the stats after the batch, from the stored state w_k."""
        x = batches.fill(rows[k], k)
        grads, stats, _ = gradient(network, states[k], x, batches.y[k], lr, create_graph=graph)
        return grads, list(stats.values())

    states, kept = [_leaves(state)], {}
    for k in range(count):
        keep = k >= count - graphs and not (k == 0 and alone)
        grads, stats = step(k, keep)
        kept[k] = (grads, stats) if keep else None
        moved = [w - g.detach() for w, g in zip(states[k].params.values(), grads, strict=True)]
        after = dict(zip(state.stats, stats, strict=True))
        states.append(_leaves(State(dict(zip(names, moved, strict=True)), after)))

    losses, direction, found = 0, None, []
    for k in reversed(range(count)):
        if average == "mean" or k == count - 1:
            own = adversarial(states[k + 1], batches.fill(rows[k], k)) / (
                count if average == "mean" else 1
            )
            parts = _grad([own.sum()], [*_flat(states[k + 1]), rows[k]])
            found.append((rows[k], parts.pop()))
            direction = (
                parts
                if direction is None
                else [a + b for a, b in zip(direction, parts, strict=True)]
            )
            losses = losses + own.detach()
        if k == 0 and alone:
            outputs = _rows_gradient(network, states[0], rows[0], batches, lr), []
        else:
            outputs = kept.pop(k) or step(k, True)
        pulled = _pull_back(
            outputs, direction, [*(_flat(states[k]) if k else []), rows[k]], len(names)
        )
        found.append((rows[k], -pulled.pop()))
        direction = [d - p for d, p in zip(direction, pulled[: len(names)], strict=False)]
        direction += [-p for p in pulled[len(names) :]]
    grads = [g for r, g in found if r.requires_grad]
    return MetaGradient(
        _scatter(sum(grads), batches.slot, poisons), losses, states[1].map(Tensor.detach)
    )


def _leaves(state: State) -> State:
    """Fresh leaves, running statistics included: they too carry the past into L_adv."""
    return state.map(lambda t: t.detach().requires_grad_())


def _flat(state: State) -> list[Tensor]:
    return [*state.params.values(), *state.stats.values()]


def _grad(
    outputs: list[Tensor], inputs: list[Tensor], cotangents: list[Tensor] | None = None
) -> list[Tensor]:
    """`torch.autograd.grad`, zero for inputs that are constants or unused."""
    variable = [i for i in inputs if i.requires_grad]
    grads = iter(torch.autograd.grad(outputs, variable, cotangents, materialize_grads=True))
    return [next(grads) if i.requires_grad else torch.zeros(()) for i in inputs]


def _pull_back(outputs, direction: list[Tensor], inputs: list[Tensor], params: int) -> list[Tensor]:
    """∂/∂inputs of ⟨lr·∇CE, λ_params⟩ − ⟨stats, λ_stats⟩; its negative is what λ gains."""
    grads, stats = outputs
    cotangents = direction[:params] + [-d for d in direction[params : params + len(stats)]]
    pairs = [(o, c) for o, c in zip([*grads, *stats], cotangents, strict=True) if o.requires_grad]
    return _grad([o for o, _ in pairs], inputs, [c for _, c in pairs])


def _rows_gradient(
    network: Network, state: State, rows: Tensor, batches: Batches, lr: Tensor
) -> list[Tensor]:
    """The poisoned rows' share of lr·∇CE(w_0; B_0), as a function of their pixels."""
    share = rows.shape[1] / batches.x.shape[2]
    y = batches.y[0, :, : rows.shape[1]]
    return gradient(network, state, rows, y, share * lr, create_graph=True)[0]


def _scatter(rows: Tensor, slot: Tensor, poisons: Tensor) -> Tensor:
    """Gradients of rows (M, R, …) added up per poison (P, …); slot P is the bin of the others."""
    out = poisons.new_zeros(len(poisons) + 1, *poisons.shape[1:])
    return out.index_add(0, slot.flatten(), rows.flatten(0, 1))[:-1]


def matching(
    network: Network,
    adversarial: Adversarial,
    poisons: Tensor,
    state: State,
    batches: Batches,
    lr: Tensor,
    average: str = "mean",
    poisoned_steps: str = "first",
) -> MetaGradient:
    """Gradient matching, 1 − cos(∇L_adv(w_0), ∇CE(w_0; poisons)) (Geiping et al. 2021, eq. 3).

    At K = 1 the meta-gradient is −lr·∂ₓ⟨∇CE, ∇L_adv(w_1)⟩: this is the same inner product with the
    other end at w_0, and without the norms. Only the first batch is used; `lr`, `average` and
    `poisoned_steps` have no meaning here. Meant for L_adv = cross entropy and a trained surrogate.
    """
    state = leaves(state)
    params = list(state.params.values())
    rows = batches.rows(poisons.detach(), 0).requires_grad_()
    x = batches.fill(rows, 0)
    wanted = torch.autograd.grad(adversarial(state, x).sum(), params)
    logits = network(state, x if network.has_stats else rows)[0][:, : rows.shape[1]]
    labels = batches.y[0, :, : rows.shape[1]]
    is_poison = (batches.slot < len(poisons)).to(x)
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(
        is_poison
    )
    mean = (each * is_poison).sum(1) / is_poison.sum(1).clamp(min=1)
    given = torch.autograd.grad(mean.sum(), params, create_graph=True)
    losses = 1 - _cosine(given, wanted)
    (grad,) = torch.autograd.grad((losses * (is_poison.sum(1) > 0)).sum(), rows)
    return MetaGradient(_scatter(grad, batches.slot, poisons), losses.detach())


def _cosine(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """Cosine of two gradients of M models each, over all parameters: (M,)."""
    a, b = (torch.cat([g.flatten(1) for g in grads], 1) for grads in (a, b))
    return F.cosine_similarity(a, b, dim=1, eps=1e-12)


METAGRADIENTS = {
    "reverse": reverse,
    "adjoint": partial(adjoint, graphs=8),
    "adjoint-lean": adjoint,
    "matching": matching,
}
"""The strategies by name. "adjoint" keeps the graphs of up to eight steps, which is faster where
memory allows; "adjoint-lean" keeps one."""
