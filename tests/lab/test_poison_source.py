"""Where a lab's poisons come from."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpkit.lab.kit.runner import Put
from mpkit.lab.poison_source import PoisonSource, rescaled
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from tests.lab.conftest import SMALL, small_attack


def items(made) -> list:
    """What a runner would take, with all that is put in beside it."""
    found = []
    for item in made:
        item.do() if isinstance(item, Put) else found.append(item)
    return found


def test_rescaled_poisons():
    scenario = prepare(make_attack("ci", **SMALL)).scenario
    bases = scenario.base_images
    poisons = (255 * bases).round().clamp(10, 245).byte() + 10
    assert torch.allclose(rescaled(scenario, poisons, 26, 26) * 255, poisons.float(), atol=1e-3)
    assert torch.allclose(rescaled(scenario, poisons, 0, 26), bases, atol=0.5 / 255 + 1e-6)


@pytest.fixture
def given():
    """Poisons that fit the small attack: a change of at most 20 levels."""
    bases = (255 * prepare(small_attack()).scenario.base_images).round()
    return torch.where(bases > 127, bases - 20, bases + 20).to(torch.uint8)


def test_given_poisons_are_kept_and_their_epsilon_is_their_largest_change(given):
    source = PoisonSource(given, small_attack())
    assert source.poisons() is given
    assert source.epsilon == 20 / 255
    with pytest.raises(ValueError, match="without a source"):
        source.refuse_codes()


@pytest.mark.parametrize("wrong", [lambda t: t.float(), lambda t: t[:2], lambda t: t[..., :4]])
def test_poisons_that_do_not_fit_are_refused_with_what_would(wrong, given):
    with pytest.raises(ValueError, match=r"uint8 pictures \(6, 1, 8, 8\), one a base"):
        PoisonSource(wrong(given), small_attack())


def test_what_was_crafted_serves_as_long_as_the_attack_is_the_same():
    source = PoisonSource(None, small_attack(craft_steps=2))
    source.refuse_codes()  # its attack is its own
    assert source.poisons() is None
    ready = prepare(source.attack, progress=False)
    assert [r.step for r in items(source.craft(ready))] == [1, 2]
    made = source.poisons()
    assert made.shape == source.scenario.base_images.shape
    assert source.epsilon == source.attack.settings.epsilon
    source.attack = dataclasses.replace(source.attack, victims=7)  # poisons do not depend on that
    assert source.poisons() is made
    assert source.look().batch.words == "poisons of craft step 2 of 2"
    changed = dataclasses.replace(source.attack.settings, epsilon=0.2)
    source.attack = dataclasses.replace(source.attack, settings=changed)
    assert source.poisons() is None


def test_the_scenario_is_loaded_anew_only_where_it_is_another():
    source = PoisonSource(None, small_attack())
    assert not source.refresh()
    scenario = source.scenario
    source.attack = dataclasses.replace(source.attack, victims=5)
    assert not source.refresh()
    assert source.scenario is scenario
    source.attack = dataclasses.replace(source.attack, target_index=(2,))
    assert source.refresh()
    assert source.scenario.target_rows != scenario.target_rows
