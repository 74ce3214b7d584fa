"""Feature collision, the attack before this one."""

from __future__ import annotations

import pytest
import torch

from mpkit.baselines import Collision, collide, proximal, watermark
from mpkit.functional import init
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from tests.lab.conftest import SMALL


def test_the_proximal_step_has_its_closed_form():
    g = torch.Generator().manual_seed(0)
    x, b = 0.2 + 0.6 * torch.rand(2, 1, 4, 4, generator=g, dtype=torch.float64)
    z = proximal(x, b, 0.7)
    z.requires_grad_()
    value = 0.5 * (z - x).square().sum() + 0.5 * 0.7 * (z - b).square().sum()
    assert torch.autograd.grad(value, z)[0].abs().max() < 1e-12


def test_features_come_closer_and_beta_holds_back():
    attack = prepare(make_attack("ci", **SMALL))
    state = init(attack.network, 0)
    base, target = attack.scenario.base_images[0], attack.scenario.targets[0]

    def end(beta):
        *_, (poison, record) = collide(
            attack.network, state, base, target, Collision(beta=beta, steps=40)
        )
        assert 0 <= poison.min() <= poison.max() <= 1
        return record

    free, held = end(0.0), end(1.0)
    start = next(iter(collide(attack.network, state, base, target, Collision())))[1]
    assert free.features < held.features < start.features
    assert held.pixels < free.pixels


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"beta": -1}, "beta"),
        ({"rate": 0}, "rate"),
        ({"steps": 0}, "steps"),
        ({"opacity": 2}, "opacity"),
    ],
)
def test_collisions_that_make_no_sense_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Collision(**values)


def test_a_watermark_is_a_share_of_the_target():
    base, target = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(watermark(base, target, 0), base)
    assert torch.equal(watermark(base, target, 1), target)
    assert torch.allclose(watermark(base, target, 0.25), 0.25 * target + 0.75 * base)


def test_a_collision_begins_with_its_watermark_and_obeys_what_is_turned():
    attack = prepare(make_attack("ci", **SMALL))
    state = init(attack.network, 0)
    base, target = attack.scenario.base_images[0], attack.scenario.targets[0]
    now = [Collision(opacity=0.3, steps=5)]
    found = []
    for x, record in collide(attack.network, state, base, target, lambda: now[0]):
        found.append((x, record))
        if record.step == 2:
            now[0] = Collision(opacity=0.3, steps=3, beta=2.0)
    assert torch.allclose(found[0][0], watermark(base, target, 0.3))
    assert [r.step for _, r in found] == [0, 1, 2, 3]
    assert [r.beta for _, r in found] == [0.1, 0.1, 0.1, 2.0]
    for x, r in found:
        assert r.pixels == pytest.approx(float((x - base).square().mean().sqrt()), abs=1e-6)
