"""Tests of mpkit.defenses.trainee: without a defense a trainee is any model."""

from __future__ import annotations

import pytest
import torch

from mpkit.defenses.defense import Defense
from mpkit.defenses.trainee import Trainee, trainer
from mpkit.device import Plan
from mpkit.recipe import Recipe
from mpkit.tracing import same
from mpkit.training import train
from tests.blobs import dataset, last_layer, small_bn, small_net

DATA = dataset(23, 0)
PLAIN = trainer(Trainee)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=3, batch=7),
        Recipe(epochs=2, batch=7, momentum=0.9, weight_decay=0.01, decays=(1,)),
        Recipe(epochs=2, batch=7, augment=True, flip=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("net", [small_net, small_bn])
def test_one_that_does_not_defend_itself_learns_as_train_has_it(net, recipe):
    given, seeds = (net(), DATA.x, DATA.y, recipe), [3, 4]
    runs = list(PLAIN(*given, seeds, defense=Defense(), plan=Plan(1, 2)))
    plain = list(train(*given, seeds))
    assert [r for _, r in runs] == [r for _, r in plain]
    assert all(same(a, b) for (a, _), (b, _) in zip(runs, plain, strict=True))


def test_it_tells_of_every_batch():
    heard = []
    recipe = Recipe(epochs=2, batch=10)
    given = small_net(), DATA.x, DATA.y, recipe, [0, 1]
    list(PLAIN(*given, defense=Defense(), tell=lambda *told: heard.append(told)))
    assert heard == [(i + 1, 12) for i in range(12)]


class Lighter(Trainee):
    """Pictures that get lighter, each batch more."""

    pictures = True

    def batch(self, rows, noise):
        x, y = super().batch(rows, noise)
        return (x + 0.1).clamp(max=1), y


def test_features_of_changed_pictures_are_computed_anew():
    module = last_layer()
    x = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    recipe, y = Recipe(epochs=2, batch=5), torch.arange(12) % 3
    *_, (changed, _) = trainer(Lighter)(module, x, y, recipe, [1], defense=Defense())
    *_, (expected, _) = train(module, (x + 0.1).clamp(max=1), y, recipe, [1])
    *_, (unchanged, _) = train(module, x, y, recipe, [1])
    for k, w in changed.params.items():
        assert torch.allclose(w, expected.params[k], atol=1e-5)
        assert not torch.allclose(w, unchanged.params[k], atol=1e-3)
    with pytest.raises(ValueError, match="last layer"):
        next(PLAIN(module, x, y, Recipe(flip=True), [1], defense=Defense()))
