"""Tests of mpkit.defenses.filters: every filter on planted poisons, and what holds for all."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mpkit.defenses.defense import Defense
from mpkit.defenses.filters import loss_outliers
from mpkit.functional import logits
from tests.defenses.conftest import untrained


def test_the_largest_losses_go():
    module, state, data = untrained(40)
    got = loss_outliers(module, state, data, Defense(defense="loss", suspected=0.1))
    z, _ = logits(module, state, data.x, train=False)
    losses = F.cross_entropy(z, data.y, reduction="none")
    torch.testing.assert_close(got.scores, losses)
    assert (~got.keep).nonzero().flatten().tolist() == sorted(losses.topk(4).indices.tolist())
