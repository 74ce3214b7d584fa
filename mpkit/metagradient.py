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

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mpkit.batches import Adversarial, Batches, MetaGradient, unstacked
from mpkit.functional import Network, State
from mpkit.training import gradient, leaves, sgd_step


@unstacked
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
    rows = batches.rows(poisons)
    for k in range(len(batches)):
        x = batches.fill(rows[k] if k == 0 or poisoned_steps == "all" else rows[k].detach(), k)
        state, _ = sgd_step(network, state, x, batches.y[k], lr, create_graph=True)
        first = first or state.map(Tensor.detach)
        if average == "mean" or k == len(batches) - 1:
            total = total + adversarial(state, x)
    losses = total / (len(batches) if average == "mean" else 1)
    (grad,) = torch.autograd.grad(losses.sum(), poisons)
    return MetaGradient(grad, losses.detach(), first)


@unstacked
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
    count, weight = len(batches), 1 / len(batches) if average == "mean" else 1.0
    alone = not network.has_stats  # without batch statistics a row's gradient is its own business
    rows = list(batches.rows(poisons.detach()))
    for r in rows if poisoned_steps == "all" else rows[:1]:
        r.requires_grad_()

    def step(k: int, graph: bool) -> list[Tensor]:
        """−lr·∇CE(w_k; B_k), which w_k gains, and the stats after it; from the stored w_k."""
        x = batches.fill(rows[k], k)
        gains, stats, _ = gradient(network, states[k], x, batches.y[k], -lr, graph)
        return [*gains, *stats.values()]

    states, kept = [_leaves(state)], {}
    for k in range(count):
        if k == 0 and alone:
            kept[0], found = _split_step(network, states[0], rows[0], batches, lr)
        else:
            found = step(k, k >= count - graphs)
            if k >= count - graphs:
                kept[k] = found
        states.append(_after(states[k], found))
        del found

    losses, cotangent, total = 0, [], torch.zeros_like(rows[0])
    for k in reversed(range(count + 1)):  # all that depends on w_k: the step from it, L_adv at it
        outputs, inputs = [], _flat(states[k]) if k else []
        if k < count:
            outputs = kept.pop(k, None) or step(k, True)
        seeds = list(cotangent)
        if k > 0 and (average == "mean" or k == count):
            pixels = batches.fill(rows[k - 1], k - 1) if network.by_batch else batches.x[k - 1]
            own = weight * adversarial(states[k], pixels)
            losses = losses + own.detach()
            outputs, seeds = [*outputs, own.sum()], [*seeds, own.new_ones(())]
        live = [r for r in rows[max(k - 1, 0) : k + 1] if r.requires_grad]
        pulled = _grad(outputs, [*inputs, *live], seeds)
        total = sum(pulled[len(inputs) :], total)
        cotangent = _carry(cotangent, pulled[: len(inputs)], len(state.params))
    return MetaGradient(batches.scatter(total, poisons), losses, states[1].map(Tensor.detach))


def _leaves(state: State) -> State:
    """Fresh leaves, running statistics included: they too carry the past into L_adv."""
    return state.map(lambda t: t.detach().requires_grad_())


def _flat(state: State) -> list[Tensor]:
    return [*state.params.values(), *state.stats.values()]


def _after(state: State, found: list[Tensor]) -> State:
    """The state that a step leads to, as leaves: parameters gain, statistics are replaced."""
    new = iter(found)
    with torch.no_grad():
        params = {k: w + next(new) for k, w in state.params.items()}
    return _leaves(State(params, {k: next(new) for k in state.stats}))


def _grad(outputs: list[Tensor], inputs: list[Tensor], seeds: list[Tensor]) -> list[Tensor]:
    """`torch.autograd.grad` of Σ⟨output, seed⟩; outputs that are constant or unseeded drop out."""
    pairs = [(o, s) for o, s in zip(outputs, seeds, strict=False) if o.requires_grad]
    outputs, seeds = zip(*pairs, strict=True)
    return list(torch.autograd.grad(outputs, inputs, seeds, materialize_grads=True))


def _carry(cotangent: list[Tensor], pulled: list[Tensor], params: int) -> list[Tensor]:
    """λ_k: parameters persist through a step and so add λ_{k+1}; statistics are replaced by it."""
    if not cotangent:
        return pulled
    kept = zip(cotangent[:params], pulled[:params], strict=False)
    return [a + b for a, b in kept] + pulled[params:]


def _split_step(
    network: Network, state: State, rows: Tensor, batches: Batches, lr: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """−lr·∇CE(w_0; B_0) twice: the poisoned rows' share of it, as a function of their pixels; and
    all of it, which w_0 gains."""
    n, y = rows.shape[-4], batches.y[0]
    share = n / y.shape[-1]
    if share == 0:
        own = gradient(network, state, batches.x[0], y, -lr)[0]
        return own, own
    own = gradient(network, state, rows, y[..., :n], -share * lr, create_graph=True)[0]
    if share == 1:
        return own, own
    others = batches.x[0][..., n:, :, :, :]
    rest = gradient(network, state, others, y[..., n:], (share - 1) * lr)[0]
    return own, [a.detach() + b for a, b in zip(own, rest, strict=True)]


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
    rows = batches.rows(poisons.detach())[0].requires_grad_()
    x = batches.fill(rows, 0)
    wanted = torch.autograd.grad(adversarial(state, x).sum(), params)
    logits = network(state, x if network.has_stats else rows)[0][..., : rows.shape[-4], :]
    labels = batches.y[0][..., : rows.shape[-4]]
    is_poison = (batches.slot < len(poisons)).to(x)
    each = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view_as(
        is_poison
    )
    mean = (each * is_poison).sum(-1) / is_poison.sum(-1).clamp(min=1)
    given = torch.autograd.grad(mean.sum(), params, create_graph=True)
    losses = 1 - _cosine(given, wanted)
    (grad,) = torch.autograd.grad((losses * (is_poison.sum(-1) > 0)).sum(), rows)
    return MetaGradient(batches.scatter(grad, poisons), losses.detach())


def _cosine(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """Cosine of two gradients of M models each, over all parameters: (M,)."""
    a, b = (torch.cat([g.flatten(1) for g in grads], 1) for grads in (a, b))
    return F.cosine_similarity(a, b, dim=1, eps=1e-12)


def preferred(network: Network) -> str:
    """What "auto" stands for: "adjoint" where there are convolutions, else "reverse".

    Linear layers do so little arithmetic that the second forward pass at step 0 costs more than
    it saves (tests/benchmarks/meta_gradients.py).
    """
    return "adjoint" if network.convolutional else "reverse"


def automatic(network: Network, *arguments, **options) -> MetaGradient:
    """The `preferred` strategy; the arguments are the same."""
    return METAGRADIENTS[preferred(network)](network, *arguments, **options)


METAGRADIENTS = {
    "auto": automatic,
    "reverse": reverse,
    "adjoint": partial(adjoint, graphs=8),
    "adjoint-lean": adjoint,
    "matching": matching,
}
"""The strategies by name. "adjoint" keeps the graphs of up to eight steps, which is faster where
memory allows; "adjoint-lean" keeps one."""
