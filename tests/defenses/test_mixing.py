"""Tests of mpkit.defenses.mixing, against plain loops."""

from __future__ import annotations

import dataclasses

import torch

from mpkit.defenses.defense import Defense
from mpkit.defenses.mixing import GREY, Augmented, Cutout, Mixup, cut, mixed
from mpkit.defenses.trainee import trainer
from mpkit.recipe import Recipe
from mpkit.streams import generator
from mpkit.tracing import same
from mpkit.training import train
from tests.blobs import dataset, last_layer, small_net

DATA = dataset(23, 0)
RECIPE = Recipe(epochs=2, batch=7)


def test_pictures_and_labels_are_mixed_in_the_same_shares():
    x, y = torch.rand(4, 1, 2, 2), torch.eye(4)[:, :3]
    other = torch.tensor([2, 0, 3, 1])
    pictures, labels = mixed(x, y, other, 0.3)
    for i in range(4):
        assert torch.allclose(pictures[i], 0.3 * x[i] + 0.7 * x[other[i]])
        assert torch.allclose(labels[i], 0.3 * y[i] + 0.7 * y[other[i]])


def test_mixup_draws_a_share_a_batch_from_beta():
    def shares(alpha: float) -> torch.Tensor:
        one = Mixup(small_net(), DATA.x, DATA.y, RECIPE, 0, Defense(mixup_alpha=alpha))
        g = generator(0, "test")
        y = [one.batch(torch.tensor([0, 1]), g)[1] for _ in range(600)]
        assert all(torch.allclose(labels.sum(1), torch.ones(2)) for labels in y)
        return torch.stack([labels[0, 0] for labels in y])  # 1 where the other is itself

    even, pointed = (s[s < 1] for s in (shares(1), shares(9)))
    assert 180 < len(even) < 420  # in a batch of two, half of the pictures get themselves
    assert abs(float(even.var()) - 1 / 12) < 0.015
    assert abs(float(pointed.var()) - 1 / (4 * 19)) < 0.004


def test_cutout_hides_a_square_that_may_stick_out():
    x = torch.rand(3, 2, 8, 6)
    middle = torch.tensor([[0.5, 0.0, 0.99], [0.5, 0.4, 0.99]])[..., None]
    found = cut(x, middle, 4)
    for i in range(3):
        top, left = (int(m * size) - 2 for m, size in zip(middle[:, i, 0], (8, 6), strict=True))
        for row in range(8):
            for col in range(6):
                hidden = top <= row < top + 4 and left <= col < left + 4
                expected = torch.full((2,), GREY) if hidden else x[i, :, row, col]
                assert torch.equal(found[i, :, row, col], expected)


def test_cutout_hides_another_place_each_time():
    one = Cutout(small_net(), DATA.x, DATA.y, RECIPE, 0, Defense(cutout_side=0.5))
    g, rows = generator(0, "test"), torch.arange(5)
    first, second = (one.batch(rows, g)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert 1 < float((first != DATA.x[:5]).sum((1, 2, 3)).float().mean()) <= 16


def test_augment_is_the_recipes_own_augmentation():
    given, seeds = (small_net(), DATA.x, DATA.y), [3, 4]
    for mirrored in (False, True):
        defense = Defense(mirrored=mirrored)
        *_, (state, _) = trainer(Augmented)(*given, RECIPE, seeds, defense=defense)
        own = dataclasses.replace(RECIPE, augment=True, flip=mirrored)
        *_, (expected, _) = train(*given, own, seeds)
        assert same(state, expected)


def test_a_last_layer_learns_from_mixed_cut_and_shifted_pictures():
    module = last_layer()
    x, y = dataset(12, 0, 3).x.repeat(1, 1, 2, 2), torch.arange(12) % 3
    *_, (plain, _) = train(module, x, y, RECIPE, [1])
    for kind in (Mixup, Cutout, Augmented):
        *_, (state, record) = trainer(kind)(module, x, y, RECIPE, [1], defense=Defense())
        assert state.finite
        assert not same(state, plain)
        assert record.epoch == 2
