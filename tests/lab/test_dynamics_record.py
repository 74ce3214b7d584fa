"""What is noted of both twins, against a plain computation."""

from __future__ import annotations

import math

import pytest
import torch

from mpkit.functional import State, init, logits, own, stack
from mpkit.lab.dynamics_record import TwinRecord, measure
from mpkit.runs.prepared import prepare
from tests.lab.conftest import small_attack


@pytest.fixture
def ready():
    return prepare(small_attack(), progress=False)


@pytest.fixture
def twins(ready) -> State:
    return stack([init(ready.network, seed) for seed in range(2)])


def test_a_record_is_what_each_twin_says(ready, twins):
    s, found = ready.scenario, measure(ready, twins, 4, (0.5, 0.75), 26 / 255)
    assert (found.epoch, found.losses, found.epsilon) == (4, (0.5, 0.75), 26 / 255)
    true, wanted = int(s.target_labels[0]), int(s.adversarial[0])
    for twin in range(2):
        module, state = own(ready.network), twins.pick(twin)
        z = logits(module, state, s.targets[:1], train=False)[0][0]
        p = z.softmax(-1)
        assert found.true[twin] == pytest.approx(float(p[true]), abs=1e-5)
        assert found.adversarial[twin] == pytest.approx(float(p[wanted]), abs=1e-5)
        others = torch.cat([z[:wanted], z[wanted + 1 :]]).max()
        assert found.adversarial_loss[twin] == pytest.approx(float(others - z[wanted]), abs=1e-5)
        said = logits(module, state, s.validation.x, train=False)[0].argmax(-1)
        right = (said == s.validation.y).float().mean()
        assert found.accuracies[twin] == pytest.approx(float(right), abs=1e-6)
    assert found.diverged == (False, False)


def test_a_twin_that_diverged_says_nothing(ready, twins):
    name = next(iter(twins.params))
    twins.params[name][1] = math.nan
    found = measure(ready, twins, 1, (0.1, math.nan), 26 / 255)
    assert found.diverged == (False, True)
    assert math.isnan(found.accuracies[1])
    assert 0 <= found.accuracies[0] <= 1


def test_either_of_two_signs_is_enough():
    both = (0.5, 0.5)
    for name in ("true", "accuracies"):
        values = {"true": both, "accuracies": both} | {name: (math.nan, 0.5)}
        r = TwinRecord(1, both, adversarial=both, adversarial_loss=both, epsilon=0.1, **values)
        assert r.diverged == (True, False)
