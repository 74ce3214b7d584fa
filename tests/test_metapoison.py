"""Crafting: every switch is live, the length of a step, what is recorded, and that it works."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from mpkit.device import Plan
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import craft, crafting, poisons_of
from mpkit.networks import network
from mpkit.perturbation import PERTURBATIONS
from mpkit.recipe import Recipe
from mpkit.settings import Settings
from tests.blobs import GOALS, SMALL, changed, precise, run, setting, small_net, start

# ── every switch, every strategy, every goal ────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def usual_poisons():
    return poisons_of(setting(), run(SMALL)[0], SMALL)


@pytest.mark.parametrize(
    "change",
    [
        {"average": "last"}, {"poisoned_steps": "all"}, {"surrogate_data": "clean"},
        {"loss": "cross-entropy"}, {"kappa": 0.0}, {"stagger": False}, {"unroll_steps": 3},
        {"method": "bullseye"}, {"signed": True}, {"craft_warmup": 3}, {"craft_decays": (1,)},
        {"craft_rate": 0.2}, {"epsilon": 0.1}, {"models": 2}, {"perturbation": "recolor"},
        {"perturbation": "both"}, {"recipe": Recipe(epochs=4, batch=6)},
    ],
    ids=str,
)  # fmt: skip
def test_every_switch_is_live(change, usual_poisons):
    scenario, settings = setting(), changed(SMALL, **change)
    after = poisons_of(scenario, run(settings, scenario)[0], settings)
    assert (usual_poisons.int() - after.int()).abs().max() > 1


def test_switches_that_cannot_matter_do_not():
    one_step = changed(SMALL, unroll_steps=1)
    expected = run(one_step)[0]
    for change in ({"average": "last"}, {"poisoned_steps": "all"}, {"kappa": 50.0}):
        found = run(changed(one_step, **change))[0]
        assert torch.equal(found.parameters["delta"], expected.parameters["delta"])


@pytest.mark.parametrize("evaluation", ["running", "batch"])
@pytest.mark.parametrize("name", METAGRADIENTS)
def test_every_strategy_runs_with_batch_norm(name, evaluation):
    net = network("convnet-bn", (1, 8, 8), 3, evaluation)
    settings = changed(SMALL, metagradient=name, craft_steps=1, models=2)
    scenario = setting()
    state, records = run(settings, scenario, net, Plan(2))
    assert torch.tensor([r.losses for r in records]).isfinite().all()
    first = start(scenario, net, settings).parameters["delta"]
    assert (state.parameters["delta"] - first).abs().max() > 0.1 * settings.epsilon


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("given", GOALS.values(), ids=GOALS)
def test_every_goal_runs_with_every_perturbation(given, perturbation):
    scenario = setting(3, **given)
    settings = changed(SMALL, perturbation=perturbation, craft_steps=2)
    state, records = run(settings, scenario)
    assert torch.tensor([r.losses for r in records]).isfinite().all()
    poisons = poisons_of(scenario, state, settings)
    assert poisons.dtype == torch.uint8
    assert poisons.shape == scenario.base_images.shape
    off = poisons.int() - (255 * scenario.base_images).round().int()
    assert off.abs().max() > 0
    if perturbation == "additive":
        assert off.abs().max() <= 255 * settings.epsilon


@pytest.mark.parametrize("epsilon", [1 / 1000, 1 / 255, 2.6 / 255, 1.0])
def test_epsilons_of_any_size(epsilon):
    scenario, settings = setting(), changed(SMALL, epsilon=epsilon)
    poisons = poisons_of(scenario, run(settings, scenario)[0], settings)
    off = poisons.int() - (255 * scenario.base_images).round().int()
    assert off.abs().max() <= int(255 * epsilon + 1e-6)
    assert off.any() or epsilon < 1 / 255


def test_poisons_obey_an_epsilon_lower_than_the_runs():
    scenario = setting()
    state, _ = run(SMALL, scenario)
    poisons = poisons_of(scenario, state, changed(SMALL, epsilon=0.05))
    off = poisons.int() - (255 * scenario.base_images).round().int()
    assert off.abs().max() == int(255 * 0.05)


# ── the step's length ───────────────────────────────────────────────────────────────────────────


def lengths(settings: Settings) -> list[float]:
    """The longest way of a pixel in each step, in units of the bound; far from all the clamps."""
    scenario, net = precise(setting()), small_net()
    object.__setattr__(scenario.train, "x", 0.4 + 0.2 * scenario.train.x)
    settings = changed(settings, epsilon=0.3)
    begun = start(scenario, net, settings)
    begun = changed(begun, parameters={"delta": begun.parameters["delta"] / 2})
    states = [begun, *(state for state, _ in craft(scenario, net, settings, begun))]
    deltas = [state.parameters["delta"] for state in states]
    return [(b - a).abs().max().item() / 0.3 for a, b in pairwise(deltas)]


def test_the_first_step_is_the_rate_in_units_of_epsilon():
    """Adam's first step is ± its rate in every pixel."""
    assert lengths(changed(SMALL, craft_rate=0.05, craft_steps=1)) == pytest.approx([0.05])
    assert lengths(changed(SMALL, craft_rate=0.2, craft_steps=1)) == pytest.approx([0.2])


def test_warm_up_is_the_square_of_the_share():
    found = lengths(changed(SMALL, craft_rate=0.1, craft_warmup=5, craft_steps=1))
    assert found == pytest.approx([0.1 / 25])
    plain, warm = (
        lengths(changed(SMALL, craft_rate=0.05, craft_steps=3, signed=True, craft_warmup=w))
        for w in (0, 2)
    )
    assert warm[0] == pytest.approx(plain[0] / 4)
    assert warm[2] > warm[0]


def test_decays_divide_the_rate_by_ten_from_their_step_on():
    plain, decayed = (
        lengths(changed(SMALL, craft_rate=0.05, craft_steps=4, signed=True, craft_decays=d))
        for d in ((), (1, 3))
    )
    assert decayed[0] == plain[0] == pytest.approx(0.05)
    assert max(decayed[1:3]) <= 0.005 + 1e-9
    assert decayed[3] <= 0.0005 + 1e-9
    assert min(plain) > 0.02


# ── what is recorded ────────────────────────────────────────────────────────────────────────────


def test_a_record_tells_what_happened():
    scenario, net = setting(), small_net()
    settings = changed(SMALL, craft_steps=6, models=2, unroll_steps=1, epsilon_c=0.01)
    seen = []
    for step, (state, record) in enumerate(craft(scenario, net, settings)):
        assert record.step == state.step == step + 1
        assert record.loss == pytest.approx(sum(record.losses) / 2)
        assert len(record.losses) == 2
        assert (record.epsilon, record.epsilon_c, record.unroll_steps) == (0.2, 0.01, 1)
        moved = state.parameters["delta"].abs().mean().item()
        assert record.perturbation_mean == pytest.approx(moved, rel=1e-5)
        assert 0 < record.seconds < 60
        seen.append(record.ages)
    assert seen == [(0, 2), (1, 3), (2, 0), (3, 1), (0, 2), (1, 3)]


def test_the_first_state_is_noise_and_nothing_is_learnt_yet():
    scenario = setting()
    state = start(scenario, small_net(), SMALL)
    assert state.step == 0
    assert not any(v.any() for v in (*state.moment1.values(), *state.moment2.values()))
    delta = state.parameters["delta"]
    assert 0.19 < delta.abs().max() <= 0.2
    images = scenario.base_images + delta
    assert images.min() >= 0
    assert images.max() <= 1


# ── does it work ────────────────────────────────────────────────────────────────────────────────


EASY = Settings(
    epsilon=0.25, epsilon_c=0.15, craft_steps=10, models=2, unroll_steps=2,
    recipe=Recipe(epochs=5, batch=12),
)  # fmt: skip


def last_loss(settings: Settings, index: int) -> float:
    """L_adv, averaged over the last life of the surrogates."""
    scenario = setting(3, 48, target_index=index, budget=0.25)
    _, records = run(settings, scenario, plan=Plan(2))
    return sum(r.loss for r in records[-5:]) / 5


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_crafted_poisons_lower_the_loss_and_random_ones_do_not(perturbation):
    """The control does all the same, but its poisons hardly move from where they start."""
    settings = changed(EASY, perturbation=perturbation)
    for index in (0, 1):
        control = last_loss(changed(settings, craft_rate=1e-6), index)
        assert last_loss(settings, index) < control - 0.15


def test_a_poisons_influence_is_the_rise_of_the_loss_without_its_change():
    """One surrogate, one batch and one step, so that the gradient is of the loss that is told."""
    scenario = setting()
    n = len(scenario.train)
    settings = changed(
        SMALL, models=1, epsilon=1e-4, unroll_steps=1, recipe=Recipe(epochs=4, batch=n)
    )
    scenario, net = precise(scenario), small_net()
    with_all = crafting(scenario, net, settings)
    state = with_all.start(settings)
    pull = with_all.step(state, settings)[0].pull
    assert pull.gradient.shape == scenario.base_images.shape

    def loss(parameters) -> float:
        poisons = with_all.perturbation.apply(parameters, scenario.base_images)
        return with_all.epoch(state.surrogates, poisons, 0, settings)[1].mean().item()

    for i in range(len(scenario.bases)):
        without = {"delta": state.parameters["delta"].clone()}
        without["delta"][i] = 0
        rise = loss(without) - loss(state.parameters)
        assert pull.influence[i].item() == pytest.approx(rise, rel=0.02, abs=1e-10)
