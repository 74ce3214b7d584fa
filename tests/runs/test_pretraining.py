"""Making weights to fine-tune."""

from __future__ import annotations

import pytest
import torch

from mpkit.data import load_dataset
from mpkit.evaluation.victims import predict
from mpkit.finetuning import features, load_weights
from mpkit.functional import init
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.runs.pretraining import (
    accuracy,
    last_pictures,
    pretrain,
    pretrained_network,
    save_weights,
    standardised,
)


def test_pretraining_takes_the_last_pictures_and_attacks_the_first():
    train_set, _ = load_dataset("fashion")
    last = last_pictures(train_set, 200)
    assert torch.bincount(last.y).tolist() == [20] * 10
    first, _ = load_dataset("fashion", max_train=400)
    rows = {x.numpy().tobytes() for x in first.x}
    assert not any(x.numpy().tobytes() in rows for x in last.x)
    with pytest.raises(ValueError, match="from 10 to 600"):
        last_pictures(train_set, 700)


def test_standardised_features_change_nothing_that_is_said(tmp_path):
    module = network("convnet-small", (3, 32, 32), 4)
    state, x = init(module, 0), torch.rand(50, 3, 32, 32)
    after = standardised(module, state, x)
    phi = features(module, after, x)
    torch.testing.assert_close(phi.mean(0), torch.zeros(256), rtol=0, atol=1e-4)
    said = [predict(module, s.map(lambda t: t[None]), x) for s in (state, after)]
    torch.testing.assert_close(*said, rtol=1e-4, atol=1e-4)
    save_weights(tmp_path / "w.safetensors", after, "convnet-small", {"data": "noise"})
    held = load_weights(str(tmp_path / "w.safetensors"))
    assert held.origin["data"] == "noise"
    assert torch.equal(
        held.tensors["features.standardize.mean"], after.stats["features.standardize.mean"]
    )


def test_a_network_without_standardised_features_is_refused():
    train_set, _ = load_dataset("fashion", max_train=20)
    assert pretrained_network("convnet-small", train_set)
    with pytest.raises(ValueError, match="'mlp' cannot be pretrained here; convnet-small can"):
        pretrained_network("mlp", train_set)


def test_the_last_epoch_is_standardised_and_accuracy_is_a_share():
    train_set, test = load_dataset("fashion", max_train=40, max_test=20)
    module = pretrained_network("convnet-small", train_set)
    epochs = list(pretrain(module, train_set, Recipe(epochs=2, batch=10), seed=1))
    assert [record.epoch for _, record in epochs] == [1, 2]
    phi = features(module, epochs[-1][0], train_set.x)
    torch.testing.assert_close(phi.mean(0), torch.zeros(256), rtol=0, atol=1e-3)
    state = epochs[-1][0]
    said = predict(module, state.map(lambda t: t[None]), test.x)[0].argmax(-1)
    right = sum(int(a == b) for a, b in zip(said, test.y, strict=True))
    assert accuracy(module, state, test) == pytest.approx(right / len(test))


def test_weights_that_diverged_are_not_given():
    train_set, _ = load_dataset("fashion", max_train=40, max_test=20)
    module = pretrained_network("convnet-small", train_set)
    with pytest.raises(ValueError, match="diverged in epoch 1: nothing is written"):
        list(pretrain(module, train_set, Recipe(epochs=2, batch=10, lr=1e6, momentum=0.9)))
