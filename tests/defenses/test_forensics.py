"""Tests of mpkit.defenses.forensics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

from mpkit.defenses.forensics import Answer, alignment, left_out, precision_at, tracin
from mpkit.finetuning import seen
from mpkit.functional import State, init, logits, stack
from mpkit.recipe import Recipe
from mpkit.runs.attack import make_attack
from mpkit.training import train
from tests.blobs import changed, dataset, small_bn, small_net

SHORT = Recipe(epochs=3, batch=10, lr=0.1, decays=(2,))


def by_picture(module, state: State, x, y, asked: Answer) -> torch.Tensor:
    """The gradient of every picture by itself, and its product with that of the answer."""

    def loss(params, x, y):
        z, _ = logits(module, State(params, state.stats), x[None], train=False)
        return F.cross_entropy(z, y[None])

    def slopes(x, y):
        found = vmap(grad(loss), (None, 0, 0))(state.params, x, y)
        return torch.cat([v.flatten(1) for v in found.values()], 1)

    return slopes(x, y) @ slopes(*asked).mean(0)


KINDS = {"network": "mlp"}, {"network": "convnet-bn"}, {"fine_tune": "last"}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_alignment_is_the_product_of_gradients_picture_by_picture(kind):
    _, module = make_attack("ci", **kind).networks((3, 32, 32), 6)
    state = init(module, 0)
    draw = torch.Generator().manual_seed(1)
    x = seen(module, torch.rand(7, 3, 32, 32, generator=draw))
    y, asked = torch.arange(7) % 6, Answer(x[:2], torch.tensor([3, 5]))
    found = alignment(module, state, x, y, asked)
    torch.testing.assert_close(found, by_picture(module, state, x, y, asked), rtol=1e-4, atol=1e-5)


def test_tracin_adds_up_the_path_at_its_learning_rates():
    data, module = dataset(20, 0), small_bn()
    asked = Answer(dataset(4, 1).x[:2], torch.tensor([1, 1]))
    want = torch.zeros(20)
    before = stack([init(module, seed) for seed in (5, 6)])
    for states, record in train(module, data.x, data.y, SHORT, [5, 6]):
        for m in range(2):
            found = by_picture(module, before.pick(m), data.x, data.y, asked)
            want += SHORT.lr_at(record.epoch - 1) * found / 2
        before = states
    got = tracin(module, data, SHORT, asked, seeds=[5, 6])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def culprit():
    """Blobs, a picture of the first kind, and two of its twins that are called the second."""
    data = dataset(30, 0)
    x, y = data.x.clone(), data.y.clone()
    asked = Answer(dataset(3, 1).x[:1], torch.tensor([1]))
    x[[7, 20]], y[[7, 20]] = asked.x[0], 1
    return changed(data, x=x, y=y), asked, torch.tensor([7, 20])


def test_tracin_blames_the_pictures_that_did_it():
    data, asked, rows = culprit()
    scores = tracin(small_net(), data, Recipe(epochs=20, batch=10), asked)
    assert set(scores.topk(2).indices.tolist()) == set(rows.tolist())


def test_left_out_pictures_are_to_blame_where_the_answer_goes_with_them():
    data, asked, rows = culprit()
    told = []
    recipe = Recipe(epochs=20, batch=10)
    scores = left_out(
        small_net(), data, recipe, asked, groups=3, rounds=6, tell=lambda *t: told.append(t)
    )
    assert told == [(i, 18) for i in range(1, 19)]
    assert scores.sum().abs() < 1e-4
    ranks = scores.argsort(descending=True).argsort()
    assert ranks[rows].float().mean() < 6


def test_one_round_by_hand():
    data, asked, _ = culprit()
    scores = left_out(small_net(), data, SHORT, asked, groups=2, rounds=1, seed=4)
    assert len(scores.unique()) == 2
    torch.testing.assert_close(scores.min(), -scores.max())


def test_models_that_diverge_explain_nothing():
    data, asked, _ = culprit()
    wild = Recipe(epochs=6, batch=10, lr=1e8)
    for how in (tracin, left_out):
        with pytest.raises(ValueError, match="diverged"):
            how(small_net(), data, wild, asked)


def test_precision_counts_poisons_among_the_highest_scores():
    scores = torch.tensor([5.0, 1.0, 4.0, 3.0, 0.0])
    assert precision_at(scores, torch.tensor([0, 3]), 0.4) == 0.5
    assert precision_at(scores, torch.tensor([0, 3]), 0.6) == pytest.approx(2 / 3)
    assert precision_at(scores, torch.tensor([0]), 0.01) == 1
