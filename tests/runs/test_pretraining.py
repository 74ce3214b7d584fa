"""Making weights to fine-tune."""

from __future__ import annotations

import pytest
import torch

from mpkit.data import load_dataset
from mpkit.evaluation import predict
from mpkit.finetuning import (
    features,
    load_weights,
)
from mpkit.functional import init
from mpkit.networks import network
from mpkit.runs.pretraining import last_pictures, save_weights, standardised


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
