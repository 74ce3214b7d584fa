"""Nothing waits for the device within an epoch: numbers of tensors are read a fixed number of times
an epoch, whatever the number of its batches. On a CPU reading costs nothing, so it is counted."""

from __future__ import annotations

import collections

import pytest
import torch
from torch import Tensor

from mpkit.device import Plan
from mpkit.evaluation.victims import train_victims
from mpkit.metapoison import craft
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare

READING = ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__")


class Reads:
    """Counts what would make the program wait for a GPU, or copy from there or to it."""

    def __init__(self, monkeypatch):
        self.count = collections.Counter()
        for name in READING:
            self.count_calls(monkeypatch, name, lambda *_, **__: True)
        self.count_calls(monkeypatch, "to", names_a_device)

    def count_calls(self, monkeypatch, name: str, counts) -> None:
        original = getattr(Tensor, name)

        def counted(tensor, *args, **kwargs):
            self.count[name] += counts(*args, **kwargs)
            return original(tensor, *args, **kwargs)

        monkeypatch.setattr(Tensor, name, counted)

    def of(self, work) -> collections.Counter:
        """How often each is called by work()."""
        before = self.count.copy()
        work()
        return self.count - before


def names_a_device(*args, **kwargs) -> bool:
    return "device" in kwargs or any(isinstance(a, str | torch.device | Tensor) for a in args)


def prepared(images: int, **given):
    usual = {"data": "signs", "fine_tune": "no", "target_index": 0, "n_test": 20, "models": 2}
    usual["craft_steps"] = 3
    attack = make_attack("ci", **usual | {"n_train": images, "batch": 10} | given)
    return prepare(attack, progress=False, plan=Plan(2), victim_plan=Plan(2))


@pytest.fixture
def reads(monkeypatch):
    return Reads(monkeypatch)


def test_a_read_is_counted(reads):
    found = reads.of(lambda: bool(torch.tensor(1.0).to("cpu") > 0))
    assert found == {"__bool__": 1, "to": 1}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"surrogate_data": "clean", "poisoned_steps": "all", "network": "convnet-bn"},
        {"fine_tune": "last"},
        {"method": "gradient-matching"},
        {"method": "bullseye"},
        {"against": "augment"},
    ],
    ids=lambda given: "-".join(map(str, given.values())) or "metapoison",
)
def test_crafting_reads_as_often_whatever_the_number_of_batches(reads, given):
    def a_step(images: int) -> collections.Counter:
        ready = prepared(images, **given)
        steps = craft(ready.scenario, ready.network, ready.attack.settings, plan=ready.plan)
        next(steps), next(steps)  # until everything is traced
        return reads.of(lambda: next(steps))

    assert a_step(60) == a_step(120)


@pytest.mark.parametrize(
    "given", [{}, {"victim_augment": True, "victim_flip": True}], ids=["plain", "augmented"]
)
def test_victims_read_as_often_whatever_the_number_of_batches(reads, given):
    def an_epoch(images: int) -> collections.Counter:
        ready = prepared(images, **given)
        recipe, pictures = ready.attack.victim_recipe, {"clean": ready.scenario.train.x}
        how = {"victims": 2, "seed": 0, "plan": ready.victim_plan}
        epochs = train_victims(ready.scenario, ready.victim_network, recipe, pictures, **how)
        next(epochs)
        return reads.of(lambda: next(epochs))

    assert an_epoch(60) == an_epoch(120)
