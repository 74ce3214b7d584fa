"""The networks' sizes, shapes and names."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from mpkit.finetuning import features
from mpkit.functional import init, logits, own, stack
from mpkit.networks import NETWORKS, network


@pytest.mark.parametrize(
    ("name", "parameters", "tolerance"),
    [
        ("convnet", 70e3, 0.1),
        ("convnet-bn", 70e3, 0.1),
        ("resnet20", 0.27e6, 0.02),
        ("resnet18", 11.17e6, 0.01),
        ("vgg13", 9.4e6, 0.01),
    ],
)
def test_parameter_counts_on_cifar(name, parameters, tolerance):
    with torch.device("meta"):
        found = sum(p.numel() for p in NETWORKS[name]((3, 32, 32), 10).parameters())
    assert abs(found - parameters) <= tolerance * parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 16, 24)])
def test_any_size_and_channels_and_stacked_equals_single(name, shape):
    if name in ("resnet18", "vgg13") and shape != (1, 8, 8):
        pytest.skip("large: one shape is enough")
    net, x = own(network(name, shape, 4)), torch.rand(2, 3, *shape, dtype=torch.float64)
    state = stack([init(net, 1), init(net, 2)]).map(Tensor.double)
    stacked, after = vmap(partial(logits, net))(state, x)
    assert stacked.shape == (2, 3, 4)
    for m in range(2):
        one, alone = logits(net, state.pick(m), x[m])
        assert torch.allclose(one, stacked[m], atol=1e-9)
        for k, v in alone.stats.items():
            assert torch.allclose(v, after.stats[k][m], atol=1e-9)
        z, _ = logits(net, state.pick(m), x[m], train=False)
        deep = features(net, state.pick(m), x[m])
        head = [state.params[f"head.{k}"][m] for k in ("weight", "bias")]
        assert torch.allclose(deep @ head[0].T + head[1], z, atol=1e-9)


@pytest.mark.parametrize("bad", [{"name": "resnet"}, {"evaluation": "sometimes"}])
def test_unknown_names_are_refused(bad):
    with pytest.raises(ValueError, match=r"there are: mlp|'running' or 'batch'"):
        network(**{"name": "mlp", "shape": (1, 8, 8), "classes": 3} | bad)
