"""Features, distances, and last layers on them."""

from __future__ import annotations

import torch

from mpkit.course import features as seen
from mpkit.evaluation.victims import predict
from mpkit.functional import init, own
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.training import train


def test_features_are_those_of_the_module(pictures):
    net = network("mlp", (1, 8, 8), 10)
    for seed in range(2):
        state, module = init(net, seed), own(net).to_empty(device="cpu")
        module.load_state_dict(state.params)
        with torch.no_grad():
            wanted = module.features(pictures[0])
        assert torch.allclose(seen.features_of(net, state)(pictures[0]), wanted, atol=1e-6)


def test_the_ratio_is_1_at_the_base_0_at_the_target_and_t_on_a_line(pictures):
    bases, target = pictures[0][1:], pictures[0][:1]
    phi = lambda x: 3 * x.flatten(1)  # noqa: E731
    for t in (0.0, 0.3, 1.0):
        found = seen.distance_ratio(phi, target + t * (bases - target), bases, target)
        assert torch.allclose(found, torch.full((5,), t), atol=1e-6)


def test_a_last_layer_learns_what_can_be_told_apart():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(40) % 2
    features = torch.randn(40, 5, generator=g) + 4 * y[:, None]
    net, x = seen.linear_layer(5, 2), features[:, None, None]
    *_, (state, _) = train(net, x, y, Recipe(epochs=20, batch=10), [0, 1])
    said = predict(net, state, x).argmax(-1)
    assert said.shape == (2, 40)
    assert (said == y).float().mean() > 0.9
    assert set(state.params) == {"1.weight", "1.bias"}  # and nothing else is trained
