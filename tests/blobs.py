"""Crafting that takes no time: three blobs that overlap, and networks of a few units."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import pytest
import torch
from torch import nn

from mpkit.data import Dataset
from mpkit.device import Plan
from mpkit.finetuning import tuned_network
from mpkit.layers import BatchNorm2d
from mpkit.metapoison import craft, crafting
from mpkit.networks import mlp
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario, make_scenario
from mpkit.settings import Settings

NAMES = ("a", "b", "c")

SMALL = Settings(
    epsilon=0.2, craft_steps=3, models=3, unroll_steps=2, recipe=Recipe(epochs=4, batch=7), seed=2
)

PLANS = pytest.mark.parametrize("plan", [Plan(), Plan(3), Plan(2), Plan(1, 2), Plan(2, 2)], ids=str)

GOALS = {
    "one target": {},
    "three targets": {"target_index": [2, 0, 3]},
    "another class": {"adversarial_class": "c"},
    "self-concealment": {"goal": "self-concealment", "poison_class": None},
    "multi-class": {"goal": "multi-class", "poison_class": None, "adversarial_class": "c"},
}

changed = dataclasses.replace


def small_net(channels: int = 1) -> nn.Module:
    return mlp((channels, 8, 8), 3, (16, 12))


def small_bn(evaluation: str = "running") -> nn.Module:
    layers = nn.Conv2d(1, 4, 3, 2, 1), BatchNorm2d(4, evaluation), nn.ReLU(), nn.Flatten()
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers), head=nn.Linear(64, 3)))


def last_layer() -> nn.Module:
    """A new last layer on the network that ships with weights, for any pictures."""
    weights = {"fine_tune": "last", "weights": "cifar10-small"}
    return tuned_network("convnet-small", (3, 16, 16), 3, **weights)


def dataset(n: int, seed: int, channels: int = 1) -> Dataset:
    """Three blobs that overlap."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.rand(3, channels, 8, 8, generator=torch.Generator().manual_seed(99))
    y = torch.arange(n) % 3
    x = 0.3 * centres[y] + 0.7 * torch.rand(n, channels, 8, 8, generator=g)
    return Dataset((255 * x).round() / 255, y, NAMES, "blobs")


def setting(channels: int = 1, n: int = 23, **given) -> Scenario:
    given = {"target_class": "a", "poison_class": "b", "budget": 0.22} | given
    return make_scenario(dataset(n, 0, channels), dataset(15, 1, channels), **given)


def precise(scenario: Scenario) -> Scenario:
    """The scenario in float64, where rounding cannot be taken for a mistake, nor hide one."""
    for part in (scenario.train, scenario.validation):
        object.__setattr__(part, "x", part.x.double())
    return changed(scenario, targets=scenario.targets.double())


def run(settings, scenario=None, net=None, plan=None, state=None):
    """The last state, and all records."""
    scenario = scenario or setting()
    net = net or small_net(scenario.train.x.shape[1])
    pairs = list(craft(scenario, net, settings, state, plan))
    return pairs[-1][0], [record for _, record in pairs]


def start(scenario, net, settings):
    return crafting(scenario, net, settings).start(settings)


def tensors(state):
    parts = state.parameters, state.moment1, state.moment2, *state.surrogates
    return [v for part in parts for _, v in sorted(part.items())]


def identical(a, b) -> bool:
    return a.step == b.step and all(map(torch.equal, tensors(a), tensors(b)))
