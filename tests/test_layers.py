"""Batch norm against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpkit.functional import init, logits, own
from mpkit.layers import BatchNorm2d
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
