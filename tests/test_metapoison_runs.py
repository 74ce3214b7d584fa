"""Crafting that is repeated, resumed, split up, and steered."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from mpkit.device import Plan
from mpkit.metapoison import craft, crafting
from mpkit.recipe import Recipe
from tests.blobs import (
    PLANS,
    SMALL,
    changed,
    identical,
    precise,
    run,
    setting,
    small_bn,
    small_net,
    start,
    tensors,
)

# ── repeated, resumed, split up ─────────────────────────────────────────────────────────────────


@PLANS
def test_same_seed_same_bits(plan):
    one, two = run(SMALL, plan=plan), run(SMALL, plan=plan)
    assert identical(one[0], two[0])
    assert [r.losses for r in one[1]] == [r.losses for r in two[1]]


@pytest.mark.parametrize("net", [small_net, small_bn], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("plan", [Plan(), Plan(3), Plan(1, 2)], ids=str)
def test_traced_and_plain_runs_give_the_same_bits(net, plan):
    traced, told = run(SMALL, net=net(), plan=plan)
    plain, said = run(changed(SMALL, compute="plain"), net=net(), plan=plan)
    assert identical(traced, plain)
    assert [r.losses for r in told] == [r.losses for r in said]


def test_another_seed_other_poisons_and_other_surrogates():
    one, two = run(SMALL)[0], run(changed(SMALL, seed=3))[0]
    assert not any(map(torch.equal, tensors(one), tensors(two)))


@pytest.mark.parametrize(
    "change",
    [{}, {"craft_warmup": 4, "craft_decays": (3,)}, {"perturbation": "both"}, {"stagger": False}],
    ids=str,
)
def test_resumed_in_the_middle_equals_unbroken_bit_for_bit(change):
    """Over more steps than an age, so that surrogates begin again before and after the break."""
    settings = changed(SMALL, craft_steps=5, **change)
    states = [state for state, _ in craft(setting(), small_net(), settings)]
    for middle in states[:-1]:
        resumed, records = run(settings, state=middle)
        assert identical(resumed, states[-1])
        assert [r.step for r in records] == list(range(middle.step + 1, 6))
    assert list(craft(setting(), small_net(), settings, states[-1])) == []


def test_a_state_is_not_changed_by_going_on_from_it():
    (first, _), *_ = pairs = list(craft(setting(), small_net(), SMALL))
    before = [t.clone() for t in tensors(first)]
    run(SMALL, state=first)
    assert all(map(torch.equal, tensors(first), before))
    assert [state.step for state, _ in pairs] == [1, 2, 3]


@pytest.mark.parametrize("net", [small_net(), small_bn()], ids=["mlp", "batch norm"])
@pytest.mark.parametrize("data", ["poisoned", "clean"])
def test_plans_differ_by_rounding_alone(net, data):
    """In float64, on batches that hold different numbers of poisons in each model."""
    scenario = precise(setting())
    settings = changed(SMALL, surrogate_data=data, unroll_steps=3, craft_steps=2)
    one, records = run(settings, scenario, net, Plan(1))
    for plan in (Plan(3), Plan(2), Plan(2, 2)):
        other, told = run(settings, scenario, net, plan)
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert torch.allclose(a, b, rtol=1e-6, atol=1e-9)
        for a, b in zip(records, told, strict=True):
            assert a.losses == pytest.approx(b.losses, rel=1e-9, abs=1e-9)


# ── settings that change during a run ───────────────────────────────────────────────────────────


def test_an_epsilon_lowered_or_raised_is_obeyed_at_the_next_step():
    now = [SMALL]
    steps = craft(setting(), small_net(), lambda: now[0])
    state, _ = next(steps)
    assert state.parameters["delta"].abs().max() > 0.15
    now[0] = changed(SMALL, epsilon=0.05)
    state, record = next(steps)
    assert state.parameters["delta"].abs().max() <= 0.05 + 1e-6
    assert record.epsilon == 0.05
    now[0] = changed(SMALL, epsilon=0.5, craft_rate=1.0)
    state, record = next(steps)
    assert state.parameters["delta"].abs().max() > 0.2
    assert record.epsilon == 0.5


def test_an_epsilon_c_lowered_is_obeyed_at_the_next_step():
    now = [changed(SMALL, perturbation="recolor", craft_rate=1.0, epsilon_c=0.2)]
    steps = craft(setting(), small_net(), lambda: now[0])
    state, _ = next(steps)
    assert state.parameters["grid"].abs().max() > 0.1
    now[0] = changed(now[0], epsilon_c=0.03)
    state, record = next(steps)
    assert state.parameters["grid"].abs().max() <= 0.03 + 1e-6
    assert record.epsilon_c == 0.03


@pytest.mark.parametrize(
    "change",
    [{"unroll_steps": 3}, {"average": "last"}, {"surrogate_data": "clean"}, {"signed": True},
     {"loss": "cross-entropy"}, {"craft_rate": 0.5}],
    ids=str,
)  # fmt: skip
def test_what_changes_during_a_run_counts_from_the_next_step_on(change):
    """Two runs, one of which changes after its first step, equal a run resumed with the change."""
    now, scenario, net = [SMALL], setting(), small_net()
    steps = craft(scenario, net, lambda: now[0])
    first, _ = next(steps)
    now[0] = changed(SMALL, **change)
    second, record = next(steps)
    expected, _ = crafting(scenario, net, now[0]).step(first, now[0])
    unchanged, _ = crafting(scenario, net, SMALL).step(first, SMALL)
    assert identical(second, expected)
    assert not torch.equal(second.parameters["delta"], unchanged.parameters["delta"])
    assert record.unroll_steps == now[0].unroll_steps


def test_a_run_can_be_made_longer_or_shorter():
    now = [changed(SMALL, craft_steps=2)]
    steps = craft(setting(), small_net(), lambda: now[0])
    assert [record.step for _, record in islice(steps, 2)] == [1, 2]
    now[0] = SMALL
    assert next(steps)[1].step == 3
    assert list(steps) == []
    now[0] = SMALL
    steps = craft(setting(), small_net(), lambda: now[0])
    next(steps)
    now[0] = changed(SMALL, craft_steps=1)
    assert list(steps) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"models": 2}, "models"),
        ({"models": 4}, "models"),
        ({"perturbation": "recolor"}, "perturbation"),
        ({"perturbation": "both"}, "perturbation"),
        ({"seed": 9}, "seed"),
        ({"stagger": False}, "stagger"),
        ({"recipe": Recipe(epochs=9, batch=7)}, "recipe"),
        ({"recipe": Recipe(epochs=4, batch=5)}, "recipe"),
        ({"compute": "plain"}, "compute"),
        ({"method": "noise"}, "method"),
        ({"restarts": 2}, "restarts"),
    ],
    ids=str,
)
def test_what_is_fixed_when_a_run_begins_cannot_change(change, name):
    now = [SMALL]
    steps = craft(setting(), small_net(), lambda: now[0])
    next(steps)
    now[0] = changed(SMALL, **change)
    with pytest.raises(ValueError, match=f"^{name} is fixed when a run begins"):
        next(steps)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": 2}, "state has models 3, and this run [24]"),
        ({"models": 4}, "state has models 3, and this run [24]"),
        ({"perturbation": "recolor"}, "state has perturbation by delta, and this run"),
        ({"perturbation": "both"}, "state has perturbation by delta, and this run"),
    ],
    ids=str,
)
def test_a_state_of_other_settings_is_refused(change, words):
    state = start(setting(), small_net(), SMALL)
    with pytest.raises(ValueError, match=words):
        next(craft(setting(), small_net(), changed(SMALL, **change), state))


def test_a_state_of_another_scenario_is_refused():
    state = start(setting(), small_net(), SMALL)
    with pytest.raises(ValueError, match="state has poisons 5, and this run 3"):
        next(craft(setting(budget=0.13), small_net(), SMALL, state))


def test_settings_are_asked_for_once_a_step_and_never_after_closing():
    asked = []

    def now():
        asked.append(len(asked))
        return SMALL

    steps = craft(setting(), small_net(), now)
    assert not asked, "an iterator does nothing before it is asked"
    next(steps)
    assert len(asked) == 1
    next(steps)
    assert len(asked) == 2
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
    assert len(asked) == 2
