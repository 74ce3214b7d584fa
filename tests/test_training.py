"""Training against a plain PyTorch loop."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from mpkit.device import Plan
from mpkit.functional import init, own
from mpkit.networks import mlp, network
from mpkit.recipe import Recipe
from mpkit.streams import epoch_order
from mpkit.training import sgd_step, train, unroll

NET = network("mlp", (1, 8, 8), 3)

X = torch.rand(23, 1, 8, 8, generator=torch.Generator().manual_seed(0))

Y = torch.arange(23) % 3


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=3, batch=5),
        Recipe(epochs=4, batch=5, warmup=2, decays=(2, 3)),
        Recipe(epochs=3, batch=4, momentum=0.9, weight_decay=0.01),
        Recipe(epochs=2, batch=100, weight_decay=0.1),
    ],
)
def test_train_equals_a_plain_loop(recipe):
    *_, (state, last) = train(NET, X, Y, recipe, [7, 8])
    for m, seed in enumerate([7, 8]):
        torch.manual_seed(seed)
        module = mlp((1, 8, 8), 3)
        optimizer = torch.optim.SGD(
            module.parameters(), 1, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        for epoch in range(recipe.epochs):
            optimizer.param_groups[0]["lr"] = recipe.lr_at(epoch)
            losses = []
            for rows in epoch_order(23, recipe.batch, seed, "epoch", epoch):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(module(X[rows]), Y[rows])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        for k, p in module.named_parameters():
            assert torch.allclose(state.params[k][m], p, atol=1e-4)
        assert abs(last.losses[m] - sum(losses) / len(losses)) < 1e-4


def test_a_model_does_not_depend_on_its_neighbours_or_the_plan():
    recipe = Recipe(epochs=2, batch=5)
    *_, (alone, _) = train(NET, X, Y, recipe, [3])
    for plan in (Plan(3), Plan(1, 2), Plan(2)):
        *_, (group, _) = train(NET, X, Y, recipe, [1, 2, 3], plan=plan)
        assert torch.allclose(
            group.params["head.weight"][2], alone.params["head.weight"][0], atol=1e-5
        )


def test_own_pictures():
    recipe, other = Recipe(epochs=1, batch=5), X.flip(0)
    *_, (both, _) = train(NET, X, Y, recipe, [3, 3], own_x=[X, other].__getitem__)
    *_, (second, _) = train(NET, other, Y, recipe, [3])
    assert not torch.equal(both.params["head.bias"][0], both.params["head.bias"][1])
    assert torch.allclose(both.params["head.bias"][1], second.params["head.bias"][0], atol=1e-5)


def test_unroll_is_differentiable_and_equals_steps():
    x, y, module = X[:6], Y[:6], own(NET)
    state = init(module, 1)

    def end(x):
        return unroll(module, state, [(x, y)] * 3, 0.1)[-1].params["head.bias"].sum()

    after = state
    for found in unroll(module, state, [(x, y)] * 3, 0.1):
        after, _ = sgd_step(module, after, x, y, 0.1)
        assert torch.equal(found.params["head.bias"], after.params["head.bias"])
    assert torch.func.grad(end)(x).abs().sum() > 0


def test_recipes_that_change_pictures_train_other_models():
    ends = []
    for recipe in (Recipe(epochs=2), Recipe(epochs=2, flip=True), Recipe(epochs=2, augment=True)):
        *_, (state, _) = train(NET, X, Y, recipe, [7])
        ends.append(torch.cat([v.flatten() for v in state.params.values()]))
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(ends, 2))


def test_training_goes_on_after_an_epoch():
    """The same weights as without the rest; not with momentum, whose velocity would be missing."""
    module, noise = network("mlp", (1, 4, 4), 3), torch.Generator().manual_seed(0)
    x, y = torch.rand(12, 1, 4, 4, generator=noise), torch.arange(12) % 3
    recipe, seeds = Recipe(epochs=3, batch=5, lr=0.1), [1, 2]
    whole = list(train(module, x, y, recipe, seeds))
    rest = list(train(module, x, y, recipe, seeds, after=(1, whole[0][0])))
    assert [record for _, record in rest] == [record for _, record in whole[1:]]
    for name, weights in whole[-1][0].params.items():
        assert torch.equal(rest[-1][0].params[name], weights)
    with pytest.raises(ValueError, match="begin anew"):
        next(train(module, x, y, Recipe(momentum=0.9), seeds, after=(1, whole[0][0])))
