"""Algorithm 1: reproducible, resumable, and obedient to settings that change mid-run."""

import dataclasses
from itertools import islice

import pytest
import torch

from mpkit.data import Dataset
from mpkit.device import Plan
from mpkit.metapoison import craft, craft_step, poisons_of, start
from mpkit.networks import network
from mpkit.scenario import make_scenario
from mpkit.settings import Settings
from mpkit.training import Recipe

torch.set_num_threads(1)
NAMES = ("a", "b", "c")
SMALL = Settings(
    epsilon=0.2, craft_steps=4, models=3, unroll_steps=2, recipe=Recipe(epochs=4, batch=10)
)


def dataset(n, seed, channels=1):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = torch.rand(n, channels, 8, 8, generator=g) * 0.6 + 0.2 * y[:, None, None, None] / 2
    return Dataset((x * 255).round() / 255, y, NAMES, "blobs")


def setting(channels=1, **more):
    train, test = dataset(30, 0, channels), dataset(15, 1, channels)
    given = {"target_class": "a", "poison_class": "b", "budget": 0.2} | more
    return make_scenario(train, test, **given)


SCENARIO, NET = setting(), network("mlp", (1, 8, 8), 3)


def parameters(settings, plan=None, scenario=SCENARIO, net=NET):
    *_, (state, _) = craft(scenario, net, settings, plan=plan)
    return state.parameters


def test_same_seed_same_bits_and_another_seed_other_ones():
    one, two = parameters(SMALL), parameters(SMALL)
    assert torch.equal(one["delta"], two["delta"])
    other = parameters(dataclasses.replace(SMALL, seed=1))
    assert not torch.equal(one["delta"], other["delta"])


def test_resumed_in_the_middle_equals_unbroken_bit_for_bit():
    states = [state for state, _ in craft(SCENARIO, NET, SMALL)]
    for middle in states[:-1]:
        *_, (resumed, _) = craft(SCENARIO, NET, SMALL, state=middle)
        assert torch.equal(resumed.parameters["delta"], states[-1].parameters["delta"])
        for k, w in resumed.surrogates.params.items():
            assert torch.equal(w, states[-1].surrogates.params[k])


@pytest.mark.parametrize("plan", [Plan(3), Plan(2), Plan(1, 2), Plan(2, 2)])
def test_plans_agree(plan):
    # On the mean: where a gradient is nearly zero, Adam magnifies rounding to a visible step.
    a, b = parameters(SMALL)["delta"], parameters(SMALL, plan)["delta"]
    assert (a - b).abs().mean() < 2e-3 * SMALL.epsilon


def test_crafting_lowers_the_loss_and_stays_in_bounds():
    settings = dataclasses.replace(SMALL, craft_steps=12, epsilon=0.3)
    pairs = list(craft(SCENARIO, NET, settings))
    losses = [r.loss for _, r in pairs]
    assert sum(losses[-4:]) < sum(losses[:4])
    poisons = poisons_of(SCENARIO, pairs[-1][0], settings)
    assert poisons.dtype == torch.uint8
    levels = (poisons.int() - (SCENARIO.base_images * 255).round().int()).abs().max()
    assert 0 < levels <= int(255 * settings.epsilon)


def test_settings_are_read_at_every_step():
    now = [SMALL]
    run = craft(SCENARIO, NET, lambda: now[0])
    state, _ = next(run)
    assert state.parameters["delta"].abs().max() > 0.05
    now[0] = dataclasses.replace(SMALL, epsilon=0.05, unroll_steps=1)
    state, record = next(run)
    assert state.parameters["delta"].abs().max() <= 0.05 + 1e-6
    assert (record.epsilon, record.unroll_steps) == (0.05, 1)
    run.close()


@pytest.mark.parametrize(
    "change",
    [
        {"average": "last"}, {"poisoned_steps": "all"}, {"surrogate_data": "clean"},
        {"loss": "cross-entropy"}, {"kappa": 0.0}, {"stagger": False}, {"unroll_steps": 3},
        {"metagradient": "matching"}, {"signed": True}, {"craft_warmup": 3}, {"craft_decays": (1,)},
    ],
)  # fmt: skip
def test_every_switch_is_live(change):
    before = parameters(SMALL)["delta"]
    after = parameters(dataclasses.replace(SMALL, **change))["delta"]
    assert after.isfinite().all()
    assert not torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("name", ["reverse", "adjoint-lean"])
def test_strategies_craft_the_same_poisons(name):
    a = parameters(SMALL)["delta"]
    b = parameters(dataclasses.replace(SMALL, metagradient=name))["delta"]
    assert (a - b).abs().mean() < 2e-3 * SMALL.epsilon


@pytest.mark.parametrize("evaluation", ["running", "batch"])
@pytest.mark.parametrize("perturbation", ["additive", "recolor", "both"])
def test_networks_with_batch_norm_and_every_perturbation(evaluation, perturbation):
    scenario, net = setting(3), network("convnet-bn", (3, 8, 8), 3, evaluation)
    settings = dataclasses.replace(SMALL, perturbation=perturbation, craft_steps=2)
    *_, (state, record) = craft(scenario, net, settings)
    assert torch.tensor(record.losses).isfinite().all()
    poisons = poisons_of(scenario, state, settings)
    assert not torch.equal(poisons.float() / 255, scenario.base_images)


@pytest.mark.parametrize(
    "goal",
    [
        {"target_index": [0, 2]},
        {"goal": "self-concealment", "poison_class": None},
        {"goal": "multi-class", "poison_class": None, "adversarial_class": "c"},
        {"adversarial_class": "c"},
    ],
)
def test_other_goals(goal):
    pairs = list(islice(craft(setting(**goal), NET, SMALL), 2))
    assert torch.tensor(pairs[-1][1].losses).isfinite().all()


def test_surrogates_begin_again_with_fresh_weights():
    settings = dataclasses.replace(SMALL, models=2, craft_steps=4)
    state = start(SCENARIO, NET, settings)
    seen = []
    for _ in range(4):
        state, record = craft_step(SCENARIO, NET, state, settings)
        seen.append(record.ages)
    assert seen == [(0, 2), (1, 3), (2, 0), (3, 1)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": 1.5}, "epsilon must lie between 0 and 1, not 1.5"),
        ({"epsilon": float("nan")}, "epsilon"),
        ({"unroll_steps": 0}, "unroll_steps must lie between 1"),
        ({"models": 0}, "models"),
        ({"metagradient": "guess"}, "there are: auto, reverse, adjoint"),
        ({"recipe": Recipe(momentum=0.9)}, "plain SGD"),
    ],
)
def test_settings_out_of_range_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(SMALL, **change)
