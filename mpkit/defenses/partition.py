"""Deep partition aggregation: many models, each of its own part of the pictures, vote (Levine and
Feizi 2021). A picture sits in one part, so that a poison has one vote at most: how many pictures
an attacker must change can be counted.

The parts of a small training set are very small. Each model has as many epochs as without the
defense, and so takes fewer steps by as many times as there are parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mpkit.defenses.defense import Defense
from mpkit.device import Plan
from mpkit.evaluation.victims import predict
from mpkit.functional import State, init, own, stack
from mpkit.recipe import Recipe
from mpkit.setting import PIXEL
from mpkit.streams import batches_of, stream
from mpkit.telling import Tell
from mpkit.training import EpochRecord, train

LEAST = 1e-3
"""Votes that every class has besides, so that logits are finite."""


class Voting(nn.Module):
    """`parts` modules, whose logits together are the logarithms of their shares of the votes; of
    classes with as many votes the lowest wins. Its weights are those of the parts."""

    def __init__(self, module: nn.Module, parts: int):
        super().__init__()
        self.parts = nn.ModuleList(own(module) for _ in range(parts))
        if hasattr(module, "frozen"):
            self.frozen = module.frozen

    def forward(self, x: Tensor) -> Tensor:
        z = [part(x) for part in self.parts]
        classes = torch.arange(z[0].shape[-1], device=x.device)
        votes = sum((each.argmax(-1, keepdim=True) == classes).to(x) for each in z)
        return ((votes + LEAST) / (len(z) + LEAST * len(classes))).log()


def votes_of(network: Voting, state: State, x: Tensor, *, plan: Plan | None = None) -> Tensor:
    """How many parts of M models vote for each class: (M, N, classes) int64, of pictures x."""
    shares = predict(network, state, x, plan=plan).exp()
    return (shares * (len(network.parts) + LEAST * shares.shape[-1]) - LEAST).round().long()


def certificate(votes: Tensor) -> Tensor:
    """How many training pictures may be inserted or removed, in all, before votes (…, classes) can
    elect another class: ⌊(n_c − max_{c′≠c}(n_{c′} + [c′ < c]))/2⌋, (…) int64."""
    classes = torch.arange(votes.shape[-1], device=votes.device)
    n, winner = votes.amax(-1, keepdim=True), votes.argmax(-1, keepdim=True)  # the first of several
    rivals = votes + (classes < winner).long()
    second = rivals.masked_fill(classes == winner, -1).amax(-1, keepdim=True)
    return ((n - second) // 2).squeeze(-1)


def certified_shares(votes: Tensor, y: Tensor, most: int) -> list[float]:
    """The share of pictures that are named rightly, however an attacker changes 0, 1, … `most`
    training pictures; votes (N, classes), y (N,).

    A changed picture is one that was removed and one that was inserted. So k parts certify k/4 of
    them at most: for 60 of 600 it would take 240 parts of two or three pictures, all of one mind.
    """
    changes = certificate(votes) // 2
    right = votes.argmax(-1) == y
    return [float((right & (changes >= many)).float().mean()) for many in range(most + 1)]


def parts_of(x: Tensor, parts: int) -> list[Tensor]:
    """The rows of each part, by a hash of the pictures x (N, C, H, W), and ordered by it: what a
    part holds depends on no picture outside it."""
    found: list[list[tuple[bytes, int]]] = [[] for _ in range(parts)]
    for row, picture in enumerate(x):
        levels = (PIXEL * picture).round().to(torch.uint8).cpu().numpy()
        digest = hashlib.sha256(levels.tobytes()).digest()
        found[int.from_bytes(digest[:8], "big") % parts].append((digest, row))
    return [torch.tensor([row for _, row in sorted(of)], dtype=torch.int64) for of in found]


def partition(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    seeds: Sequence[int],
    *,
    defense: Defense,
    plan: Plan | None = None,
    tell: Tell | None = None,
) -> Iterator[tuple[State, EpochRecord]]:
    """A model for each part and each seed; the states are those of `Voting`. A part without a
    picture has a model that learned nothing."""
    rows = [r.to(y.device) for r in parts_of(x, defense.parts)]
    told = [0] * len(rows)
    of = sum(batches_of(len(r), recipe.batch) for r in rows if len(r)) * recipe.epochs * len(seeds)

    def heard(part: int, done: int) -> None:
        told[part] = done
        if tell:
            tell(sum(told), of)

    def run(part: int, r: Tensor) -> Iterator[tuple[State, EpochRecord]]:
        own_seeds = [stream(seed, "part", part) for seed in seeds]
        if len(r):
            given = module, x[r], y[r], recipe, own_seeds
            yield from train(*given, plan=plan, tell=lambda done, _: heard(part, done))
            return
        state = stack([init(module, seed) for seed in own_seeds]).map(lambda t: t.to(x))
        for epoch in range(recipe.epochs):
            yield state, EpochRecord(epoch + 1, (0.0,) * len(seeds))

    for together in zip(*(run(part, r) for part, r in enumerate(rows)), strict=True):
        losses = [record.losses for _, record in together]
        means = tuple(sum(each) / len(rows) for each in zip(*losses, strict=True))
        yield _united([state for state, _ in together]), EpochRecord(together[0][1].epoch, means)


def _united(states: Sequence[State]) -> State:
    """The states of the parts as one of `Voting`."""
    params, stats = {}, {}
    for i, state in enumerate(states):
        params |= {f"parts.{i}.{k}": w for k, w in state.params.items()}
        stats |= {f"parts.{i}.{k}": v for k, v in state.stats.items()}
    return State(params, stats)
