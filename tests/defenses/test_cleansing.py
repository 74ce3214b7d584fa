"""Tests of mpkit.defenses.cleansing."""

from __future__ import annotations

import torch

from mpkit.defenses.cleansing import FEWEST, Cleansing
from mpkit.defenses.defense import Defense
from mpkit.defenses.epic import isolation
from mpkit.defenses.trainee import trainer
from mpkit.recipe import Recipe
from mpkit.streams import epoch_order
from mpkit.training import train
from tests.blobs import dataset, last_layer, small_net

DATA = dataset(60, 0)
RECIPE = Recipe(epochs=6, batch=10)
OFTEN = Defense(defense="epic-training", epic_every=2, medoids=0.3)


def one(defense: Defense = OFTEN, net=None, x=DATA.x) -> Cleansing:
    return Cleansing(net or small_net(), x, DATA.y, RECIPE, 0, defense)


def test_every_few_epochs_the_isolated_ones_of_those_still_kept_are_dropped():
    model, kept = one(), torch.ones(60, dtype=torch.bool)
    for epoch in range(4):
        model.learn(epoch, _told())
        if epoch == 1:
            rows = kept.nonzero().flatten()
            alone = isolation(small_net(), model.state, DATA.x, DATA.y, 0.3) == 1
            kept[rows[alone]] = False
            assert 0 < int(alone.sum()) < 20
            assert model.kept.all()
    assert torch.equal(model.kept, kept)
    rows = torch.cat(list(model.rows(4)))
    assert set(rows.tolist()) == set(kept.nonzero().flatten().tolist())


def test_until_then_it_trains_as_others_do():
    *_, (state, _) = train(small_net(), DATA.x, DATA.y, Recipe(epochs=2, batch=10), [0])
    model = one()
    for epoch in range(2):
        order = epoch_order(60, 10, 0, "epoch", epoch)
        assert torch.equal(model.rows(epoch), order)
        model.learn(epoch, _told())
    assert torch.equal(model.state.params["head.bias"], state.params["head.bias"][0])


def test_half_of_each_class_stays_however_often_it_drops():
    always = Defense(epic_every=1, medoids=0.9)
    model = one(always)
    for epoch in range(1, 40):
        model.prepare(epoch)
    for c in range(3):
        assert int((model.kept & (DATA.y == c)).sum()) == FEWEST * 20


def test_a_last_layer_drops_by_its_features():
    x = dataset(60, 0, 3).x.repeat(1, 1, 2, 2)
    *_, (state, record) = trainer(Cleansing)(last_layer(), x, DATA.y, RECIPE, [1, 2], defense=OFTEN)
    assert state.finite
    assert record.epoch == 6
    model = one(net=last_layer(), x=last_layer().frozen(x))
    model.prepare(2)
    alone = isolation(last_layer(), model.state, x, DATA.y, 0.3) == 1
    assert torch.equal(model.kept, ~alone)


def _told():
    from mpkit.telling import Count

    return Count(None, 1)
