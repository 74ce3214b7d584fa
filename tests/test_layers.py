"""Batch norm against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import grad, vmap

from mpkit.functional import init, logits, own
from mpkit.layers import BatchNorm2d, Moments, by_batch
from mpkit.networks import network


@pytest.mark.parametrize("fused", [False, True])
def test_batch_norm_equals_torch(fused):
    ours, theirs = BatchNorm2d(4, fused=fused), nn.BatchNorm2d(4)
    for step in range(5):
        x = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(step)) * 3 + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = ours(a), theirs(b)
        (y**3).sum().backward()
        (z**3).sum().backward()
        assert torch.allclose(y, z, atol=1e-5)
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-3)
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(ours.running_var, theirs.running_var, rtol=1e-5)


def test_fused_victims_equal_plain_ones():
    x = torch.rand(5, 3, 8, 8)
    for train in (True, False):
        nets = [own(network("convnet-bn", (3, 8, 8), 4, fused=f)) for f in (False, True)]
        a, b = (logits(net, init(net, 3), x, train) for net in nets)
        assert torch.allclose(a[0], b[0], atol=1e-4)
        for k in a[1].stats:
            assert torch.allclose(a[1].stats[k], b[1].stats[k], atol=1e-5)


def test_moments_are_means_and_variances_of_each_channel_and_so_are_their_slopes():
    x = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean, var = Moments.apply(x)
    assert torch.allclose(mean, x.mean((0, 2, 3)))
    assert torch.allclose(var, x.var((0, 2, 3), correction=0))
    assert torch.autograd.gradcheck(Moments.apply, x.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda x: Moments.apply(x)[1], x)


def test_derivatives_of_derivatives_are_right_under_a_stack_of_models():
    """Where the fused kernel is silently wrong."""
    norm = BatchNorm2d(2).double()
    x = torch.randn(3, 6, 2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def slope(scale, x):
        return grad(lambda s: (norm(s * x) ** 3).sum())(scale)

    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    norm.eval()
    stacked = grad(lambda x: vmap(slope)(scales, x).sum())(x)
    for m in range(3):
        alone = grad(lambda x, m=m: slope(scales[m], x))(x[m])
        assert torch.allclose(stacked[m], alone)


def test_a_network_is_by_the_batch_if_one_of_its_norms_is():
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2))
    assert not by_batch(inner)
    assert not by_batch(nn.Linear(2, 2))
    assert by_batch(nn.Sequential(inner, BatchNorm2d(2, "batch")))


@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_evaluation_is_by_the_statistics_that_were_asked_for(evaluation):
    norm = BatchNorm2d(2, evaluation).eval()
    x = 5 + torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    by_the_batch = norm(x).mean((0, 2, 3)).abs().max() < 1e-4
    assert by_the_batch == (evaluation == "batch")
    assert torch.equal(norm.running_mean, torch.zeros(2))  # nothing is learnt at evaluation
