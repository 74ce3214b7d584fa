"""Forensics: after the fact, which training pictures made a model say what it says?

Two answers, as scores (N,) of the training pictures, the higher the more to blame: `tracin` follows
a training run, and `left_out` trains again and again without some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, jvp

from mpkit.data import Dataset
from mpkit.defenses.scoring import CHUNK, sure
from mpkit.device import Plan
from mpkit.finetuning import seen
from mpkit.functional import State, init, logits, own, stack
from mpkit.recipe import Recipe
from mpkit.streams import generator, stream
from mpkit.telling import Tell
from mpkit.training import train


class Answer(NamedTuple):
    """What is to be explained: pictures x (T, C, H, W), and the labels y (T,) that a model gave."""

    x: Tensor
    y: Tensor


def tracin(
    module: nn.Module,
    data: Dataset,
    recipe: Recipe,
    answer: Answer,
    *,
    seeds: Sequence[int] = (0,),
    plan: Plan | None = None,
    tell: Tell | None = None,
) -> Tensor:
    """How much each of N training pictures z taught the answer, along the path of its training:
    Σ_t lr_t ∇ℓ(w_t; z)·∇ℓ(w_t; answer), w_t those before epoch t (TracIn: Pruthi et al. 2020).

    By all parameters that train, at evaluation; the mean over one model a seed. Raises ValueError
    where they diverge, or cannot be trained by this recipe.
    """
    with torch.no_grad():
        x, asked = seen(module, data.x), answer._replace(x=seen(module, answer.x))
    scores = x.new_zeros(len(data))
    state = stack([init(module, s) for s in seeds]).map(lambda t: t.to(data.x))
    for after, record in train(module, data.x, data.y, recipe, seeds, plan=plan, tell=tell):
        for m in range(len(seeds)):  # by the weights that the epoch's steps began at
            found = alignment(module, state.pick(m), x, data.y, asked)
            scores += recipe.lr_at(record.epoch - 1) / len(seeds) * found
        state = after
    return sure(scores)


def alignment(module: nn.Module, state: State, x: Tensor, y: Tensor, answer: Answer) -> Tensor:
    """∇ℓ(w; z)·∇ℓ(w; answer) of each of N pictures z, (N,): x, y and `answer` as the network takes
    them in (`mpkit.finetuning.seen`).

    It is the slope of the pictures' losses in the direction ∇ℓ(w; answer): one pass forward, and no
    gradient of a single picture is ever there.
    """
    module = own(module)

    def losses(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        z, _ = logits(module, State(params, state.stats), x, train=False)
        return F.cross_entropy(z, y, reduction="none")

    towards = grad(lambda params: losses(params, *answer).mean())(state.params)
    parts = zip(x.split(CHUNK), y.split(CHUNK), strict=True)
    found = [
        jvp(lambda params, part=part: losses(params, *part), (state.params,), (towards,))[1]
        for part in parts
    ]
    return torch.cat(found)


def left_out(
    module: nn.Module,
    data: Dataset,
    recipe: Recipe,
    answer: Answer,
    *,
    groups: int = 10,
    rounds: int = 5,
    seed: int = 0,
    tell: Tell | None = None,
) -> Tensor:
    """Leave one group out: how much higher the loss of the answer is where a picture was not there.

    In each of `rounds` the N pictures fall into random `groups`, and for each a model is trained
    on all others, from the same weights; its loss, above the round's mean, counts for all of the
    group. So groups · rounds trainings: `tell` hears of them. Raises ValueError as `tracin` does.
    """
    scores, done = data.x.new_zeros(len(data)), 0
    with torch.no_grad():
        asked = seen(module, answer.x)
    for turn in range(rounds):
        order = torch.randperm(len(data), generator=generator(seed, "groups", turn))
        parts, losses = order.tensor_split(groups), []
        for rows in parts:
            rest = torch.ones(len(data), dtype=torch.bool)
            rest[rows] = False
            kept = data.subset(rest)
            seeds = [stream(seed, "left out", turn)]
            *_, (state, _) = train(module, kept.x, kept.y, recipe, seeds)
            z, _ = logits(own(module), state.pick(0), asked, train=False)
            losses.append(F.cross_entropy(sure(z), answer.y))
            done += 1
            if tell:
                tell(done, rounds * groups)
        for rows, loss in zip(parts, losses, strict=True):
            scores[rows] += (loss - torch.stack(losses).mean()) / rounds
    return scores


def precision_at(scores: Tensor, poisons: Tensor, budget: float) -> float:
    """The share of poisons, rows (P,), among the pictures of the highest scores (N,): as many as
    the `budget`, a share of all, allows. By chance it is P/N."""
    top = scores.topk(max(1, round(budget * len(scores)))).indices
    return float(torch.isin(top, poisons).float().mean())
