"""Tests of mpkit.defenses.filters: the losses, and every filter on planted poisons."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mpkit.defenses.defended import screening
from mpkit.defenses.defense import Defense
from mpkit.defenses.filters import FILTERS, loss_outliers
from mpkit.defenses.planted import PLANTS
from mpkit.functional import logits
from mpkit.recipe import Recipe
from mpkit.training import train
from tests.blobs import dataset, small_bn, small_net
from tests.defenses.conftest import untrained


def test_the_largest_losses_go():
    module, state, data = untrained(40)
    got = loss_outliers(module, state, data, Defense(defense="loss", suspected=0.1))
    z, _ = logits(module, state, data.x, train=False)
    losses = F.cross_entropy(z, data.y, reduction="none")
    torch.testing.assert_close(got.scores, losses)
    assert (~got.keep).nonzero().flatten().tolist() == sorted(losses.topk(4).indices.tolist())


# What each was made for: wrong labels, before they are learnt by heart, or a patch, which
# convolutions have a feature for. On other seeds: docs/results.md, "Filters".
MADE_FOR = {
    "deep-knn": ("flipped", small_net, Recipe(epochs=20, batch=25, lr=0.05)),
    "epic": ("flipped", small_net, Recipe(epochs=30, batch=25, lr=0.05)),
    "loss": ("flipped", small_net, Recipe(epochs=25, batch=25, lr=0.05)),
    "spectral": ("patched", small_bn, Recipe(epochs=20, batch=25)),
    "clustering": ("patched", small_bn, Recipe(epochs=20, batch=25)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_planted_poisons_are_found_and_innocents_stay(name):
    plant, network, recipe = MADE_FOR[name]
    told = Defense(defense=name, suspected=0.07, separation=0.2, medoids=0.2)
    module, counts = network(), []
    for seed in (1, 2, 3, 4):
        data, rows = PLANTS[plant](dataset(300, 0), 0.05, seed)
        *_, (state, _) = train(module, data.x, data.y, recipe, [seed])
        counts.append(screening(FILTERS[name](module, state.pick(0), data, told), rows))
    assert sum(c.caught for c in counts) >= 0.9 * sum(c.poisons for c in counts)
    assert sum(c.lost for c in counts) <= 0.1 * sum(c.innocents for c in counts)
