"""Which pictures become poisons: what an attack, or its method, says of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from mpkit.finetuning import tuned_network
from mpkit.rivals.simple import as_method_has_it
from mpkit.runs.attack import Attack
from mpkit.scenario import Scenario

Known = dict[int, tuple[Tensor, Tensor, Tensor]]
"""Of a class: the rows of its pictures, their directions, and which of them are equal."""
_known = WeakTensorKeyDictionary()
"""What was seen of training pictures, by these, and then by who saw it."""


def based(attack: Attack, scenario: Scenario) -> Scenario:
    """The scenario with the bases that the attack, or its method, wants for its targets.

    Raises ValueError and DataError for weights that do not fit, or are not there.
    """
    if attack.settings.method == "label-flip" or attack.bases == "first":
        return as_method_has_it(scenario, attack.settings.method)
    if attack.fine_tune == "no":
        return nearest(scenario)
    shape, classes = scenario.train.shape, len(scenario.train.classes)
    how = {"fine_tune": "last", "weights": attack.weights}
    frozen = tuned_network(attack.network, shape, classes, **how).frozen
    known = _known.setdefault(scenario.train.x, {}).setdefault(frozen, {})
    return nearest(scenario, frozen, known)


def nearest(
    scenario: Scenario,
    see: Callable[[Tensor], Tensor] = lambda x: x,
    known: Known | None = None,
) -> Scenario:
    """The scenario with as many bases of each class as it has, those nearest to the targets: by the
    cosine between what `see` makes of pictures (N, C, H, W), (N, …), the mean over the targets.

    In double precision on the processor, so that every machine finds the same; of equal pictures
    the first. What was seen of a class is kept in `known`, and taken from there.
    """
    aims, found = _directions(see, scenario.targets), []
    for c, count in enumerate(scenario.train.y[scenario.bases].bincount().tolist()):
        if count:
            rows, near = _nearness(scenario, c, see, aims, {} if known is None else known)
            order = near.argsort(descending=True, stable=True)[:count]
            found.append(rows[order.to(rows.device)])
    return dataclasses.replace(scenario, bases=torch.cat(found).sort().values)


def _nearness(
    scenario: Scenario, c: int, see: Callable, aims: Tensor, known: Known
) -> tuple[Tensor, Tensor]:
    """The rows (n,) of a class, and how near each is to the targets (n,)."""
    rows = scenario.train.rows_of(c)
    if c not in known or not torch.equal(known[c][0], rows):  # as where labels are others
        x = scenario.train.x[rows]
        which = x.flatten(1).unique(dim=0, return_inverse=True)[1].cpu()
        known[c] = rows, _directions(see, x), which
    _, directions, which = known[c]
    near = (directions @ aims.T).mean(1)
    # Equal pictures may differ in the last digit, by where in a batch they stood.
    best = near.new_full((len(near),), -torch.inf).scatter_reduce(0, which, near, "amax")
    return rows, best[which]


@torch.no_grad()
def _directions(see: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return F.normalize(see(x.cpu().double()).flatten(1), dim=1)
