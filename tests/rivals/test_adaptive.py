"""Crafting through the change that is expected, and near the class."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpkit.augmentation import augmented
from mpkit.device import Plan
from mpkit.finetuning import features
from mpkit.metapoison import crafting
from mpkit.rivals.adaptive import disguised, kept_near, off_class
from mpkit.rivals.jpeg import jpeg
from mpkit.settings import Settings
from mpkit.streams import generator
from tests.blobs import SMALL, identical, precise, run, setting, small_net, start


@pytest.mark.parametrize("against", ["augment", "jpeg"])
def test_poisons_are_seen_as_they_will_be_and_gradients_come_back(against):
    s = dataclasses.replace(SMALL, against=against, against_quality=40)
    x = precise(setting()).base_images
    seen, back = disguised(x, s, 3)

    def change(x):
        if against == "jpeg":
            return jpeg(x, 40)
        return augmented(x, True, False, generator(s.seed, "against", 3))

    assert torch.equal(seen, change(x))
    weigh = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad((change(x) * weigh).sum(), x)
    assert torch.allclose(back(weigh), slope)


def test_each_step_has_a_change_of_its_own():
    s, x = dataclasses.replace(SMALL, against="augment"), setting().base_images
    assert not torch.equal(disguised(x, s, 0)[0], disguised(x, s, 1)[0])
    assert torch.equal(disguised(x, s, 1)[0], disguised(x, s, 1)[0])
    plain, _ = disguised(x, SMALL, 0)
    assert plain is x


@pytest.mark.parametrize("against", ["augment", "jpeg", "features"])
@pytest.mark.parametrize("method", ["metapoison", "gradient-matching", "bullseye"])
def test_what_is_expected_makes_other_poisons_where_it_acts(method, against):
    plain = dataclasses.replace(SMALL, method=method, craft_steps=2)
    expected = dataclasses.replace(plain, against=against)
    one, two = run(plain)[0], run(expected)[0]
    same = torch.equal(one.parameters["delta"], two.parameters["delta"])
    assert same == (method == "bullseye")
    assert identical(two, run(expected)[0])


def test_poisons_off_their_class_are_told_and_pulled_back():
    scenario, net = precise(setting(budget=0.3)), small_net()
    s: Settings = dataclasses.replace(SMALL, models=2, against="features", against_weight=0.5)
    state = start(scenario, net, s).surrogates
    poisons = scenario.base_images.clone()
    poisons[0] = scenario.targets[0]
    poisons[1] = 1 - poisons[1]
    _, losses = off_class(net, scenario, state, poisons, s, Plan())
    for m in range(2):
        phi = lambda x, m=m: features(net, state.pick(m), x)  # noqa: E731
        clean = phi(scenario.train.x[scenario.train.y == 1])
        mean = clean.mean(0)
        usual = sum(((c - mean) ** 2).sum() for c in clean) / len(clean)
        off = [max(0.0, float(((p - mean) ** 2).sum() - usual)) for p in phi(poisons)]
        expected = sum(off) / len(off) / float((mean**2).sum())
        assert losses[m].item() == pytest.approx(expected)
        assert expected > 0
    own = torch.randn(2, *poisons.shape, dtype=poisons.dtype)
    found = kept_near(own, net, scenario, state, poisons, s, plan=Plan())
    added = (found - own).flatten(1).norm(dim=1)
    assert torch.allclose(added, 0.5 * own.flatten(1).norm(dim=1))
    # A step along it brings them nearer, and those within their class are left alone.
    nearer = poisons - 1e-2 * (found - own).mean(0) / (found - own).mean(0).abs().max()
    assert (off_class(net, scenario, state, nearer, s, Plan())[1] < losses).all()
    mean = features(net, state.pick(0), scenario.train.x[scenario.train.y == 1]).mean(0)
    apart = (features(net, state.pick(0), poisons) - mean).square().sum(1)
    assert (found - own)[0][apart.argmin()].abs().max() == 0


def test_poisons_that_keep_near_their_class_do():
    base = dataclasses.replace(SMALL, method="gradient-matching", craft_steps=30, epsilon=0.3)
    scenario, net = setting(3, 48, budget=0.25), small_net(3)
    far = {}
    for against in ("none", "features"):
        s = dataclasses.replace(base, against=against)
        state, _ = run(s, scenario, net)
        poisons = crafting(scenario, net, s).perturbation.apply(
            state.parameters, scenario.base_images
        )
        held = start(scenario, net, s).surrogates
        far[against] = off_class(net, scenario, held, poisons, s, Plan())[1].mean()
    assert far["features"] < 0.7 * far["none"]
