"""Tests of mpkit.defenses.trainers."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.defenses.defense import Defense
from mpkit.defenses.trainers import TRAINERS, jpeg_pictures
from mpkit.recipe import Recipe
from mpkit.tracing import same
from mpkit.training import train
from tests.blobs import dataset, small_net


def test_pictures_come_back_as_from_a_jpeg_file():
    x = torch.randint(0, 256, (2, 3, 8, 8)).float() / 255
    file = io.BytesIO()
    levels = (255 * x[1]).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(file, "JPEG", quality=40)
    there = torch.tensor(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
    assert torch.equal(jpeg_pictures(x, 40)[1], there)
    assert jpeg_pictures(x[:, :1], 40).shape == (2, 1, 8, 8)


def runs(name: str, epochs: int, **given) -> list:
    data = dataset(23, 0)
    recipe = Recipe(epochs=epochs, batch=7, lr=0.05)
    defense = Defense(defense=name, **given)
    return list(TRAINERS[name](small_net(), data.x, data.y, recipe, [3, 4], defense=defense))


def test_a_stopped_training_stays_where_it_was():
    data = dataset(23, 0)
    stopped = runs("early-stopping", 5, stop_after=0.4)
    plain = list(train(small_net(), data.x, data.y, Recipe(epochs=5, batch=7, lr=0.05), [3, 4]))
    assert [record.epoch for _, record in stopped] == [1, 2, 3, 4, 5]
    for epoch, (state, record) in enumerate(stopped):
        expected, last = plain[min(epoch, 1)]
        assert same(state, expected)
        assert record.losses == last.losses
    assert len(runs("early-stopping", 2, stop_after=0.01)) == 2


@pytest.mark.parametrize("name", TRAINERS)
def test_each_trains_every_model_by_its_seed_and_tells_of_every_epoch(name):
    first, again = runs(name, 3), runs(name, 3)
    assert [record.epoch for _, record in first] == [1, 2, 3]
    (state, record), (twin, _) = first[-1], again[-1]
    assert state.models == len(record.losses) == 2
    assert state.finite
    assert same(state, twin)
    assert not same(state.pick(0), state.pick(1))
