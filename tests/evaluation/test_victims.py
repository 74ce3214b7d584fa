"""Victims and their twins: what is judged, by both statistics, and those that diverge."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from mpkit.evaluation.rates import rate
from mpkit.evaluation.records import victim_of
from mpkit.evaluation.tally import counted, success_rate, tally
from mpkit.evaluation.victims import (
    asking,
    judge,
    mean_accuracy,
    noise_poisons,
    predict,
    train_victims,
    victim_seed,
)
from mpkit.finetuning import Frozen
from mpkit.functional import init, stack
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.scenario import make_scenario
from mpkit.streams import stream
from mpkit.training import train
from tests.blobs import last_layer
from tests.conftest import noise

RECIPE = Recipe(epochs=7, batch=5, lr=0.3)


TRAIN, TEST = noise(30, 0), noise(40, 1)

SCENARIO = make_scenario(TRAIN, TEST, "a", "b", target_index=(0, 1, 2))


def trained(net, recipe=RECIPE, scenario=SCENARIO, victims=3):
    pictures = {"poisoned": 1 - TRAIN.x, "clean": TRAIN.x}
    *_, (_, found) = train_victims(scenario, net, recipe, pictures, victims=victims, seed=0)
    return found


def states(net, epochs=RECIPE.epochs):
    """The victims on clean pictures after every epoch, one State each, trained once more."""
    seeds = [victim_seed(0, v) for v in range(3)]
    recipe = dataclasses.replace(RECIPE, epochs=epochs)
    return [state for state, _ in train(net, TRAIN.x, TRAIN.y, recipe, seeds)]


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_held_is_the_share_of_the_last_five_epochs(epochs):
    net = network("mlp", (1, 8, 8), 3)
    found = trained(net, dataclasses.replace(RECIPE, epochs=epochs))
    last, shares = states(net, epochs)[-5:], set()
    for record in (r for r in found if r.arm == "clean"):
        said = [predict(net, s, SCENARIO.targets)[record.victim].argmax(-1) for s in last]
        for target, held in enumerate(record.held):
            times = [int(z[target]) == 1 for z in said]
            assert held == sum(times) / len(last)
            assert record.success[target] is times[-1]
            shares.add(held)
    assert epochs < 7 or shares - {0.0, 1.0}, "some flip flickers, or this test shows nothing"


def test_accuracies_of_each_class_are_those_of_a_loop():
    net = network("mlp", (1, 8, 8), 3)
    state = states(net)[-1]
    seen = predict(net, state, SCENARIO.validation.x).argmax(-1).tolist()
    for record in (r for r in trained(net) if r.arm == "clean"):
        pairs = list(zip(seen[record.victim], SCENARIO.validation.y.tolist(), strict=True))
        share = [
            sum(a == b for a, b in pairs if b == c) / sum(b == c for _, b in pairs)
            for c in range(3)
        ]
        assert record.class_accuracy == pytest.approx(share)
        assert (record.target_accuracy, record.poison_accuracy) == record.class_accuracy[:2]
        assert record.accuracy == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
        for target, p in enumerate(record.probabilities):
            assert sum(p) == pytest.approx(1)
            assert (p[0], p[1]) == (
                record.true_probability[target],
                record.adversarial_probability[target],
            )


def test_a_class_without_pictures_has_no_accuracy():
    few = TEST.subset((TEST.y != 2).nonzero().flatten())
    scenario = make_scenario(TRAIN, few, "a", "b")
    (record, *_) = trained(network("mlp", (1, 8, 8), 3), scenario=scenario)
    assert record.class_accuracy[2] is None
    assert None not in record.class_accuracy[:2]
    hide = make_scenario(TRAIN, TEST, "a", goal="self-concealment")
    (record, *_) = trained(network("mlp", (1, 8, 8), 3), scenario=hide)
    assert record.poison_accuracy == record.target_accuracy == record.class_accuracy[0]


def test_both_statistics_of_batch_norm_are_recorded():
    running, batch = (
        trained(network("convnet-bn", (1, 8, 8), 3, evaluation, fused=True))
        for evaluation in ("running", "batch")
    )
    for one, two in zip(running, batch, strict=True):
        assert (one.statistics, two.statistics) == ("running", "batch")
        # The other way round each says what the other one does: the same victim, asked both ways.
        assert one.other_statistics == dataclasses.replace(two, other_statistics=None)
        assert two.other_statistics == dataclasses.replace(one, other_statistics=None)
    assert any(r.probabilities != r.other_statistics.probabilities for r in running)
    assert all(
        r.statistics is r.other_statistics is None for r in trained(network("mlp", (1, 8, 8), 3))
    )


def test_pictures_are_evaluated_by_batches_of_equal_size():
    """A picture left over for a batch of its own would be measured by itself."""
    net = network("convnet-bn", (1, 8, 8), 3, "batch")
    state, x = stack([init(net, 0)]), noise(501, 2).x
    whole = predict(net, state, x)[0]
    first, second = (predict(net, state, part)[0] for part in (x[:251], x[251:]))
    assert torch.allclose(whole, torch.cat([first, second]), atol=1e-5)


@pytest.mark.parametrize("goal", ["targeted", "self-concealment"])
@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_what_diverged_is_no_success_and_says_nothing(name, goal):
    # Class 0 is the wanted one: argmax of NaN. For self-concealment it is any but 1.
    poison = "a" if goal == "targeted" else None
    scenario = make_scenario(TRAIN, TEST, "b", poison, goal=goal)
    found = trained(
        network(name, (1, 8, 8), 3), Recipe(epochs=10, batch=5, weight_decay=1e4), scenario
    )
    assert all(r.diverged for r in found)
    for r in (*found, *(r.other_statistics for r in found if r.other_statistics)):
        assert (r.success, r.predicted, r.accuracy) == ((False,), (None,), None)
        assert r.held == (0.0,)
    assert math.isnan(mean_accuracy(found, "clean"))
    told = json.dumps([dataclasses.asdict(r) for r in found], allow_nan=False)
    assert [victim_of(row) for row in json.loads(told)] == found
    assert counted(found, "clean", 40) == f"{rate(0, 3)}, 3 diverged, accuracy –" or name != "mlp"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_that_diverged_spoils_no_other(bad):
    net = network("mlp", (1, 8, 8), 3)
    state = states(net)[-1]
    arms = [("clean", v) for v in range(3)]
    before = judge(SCENARIO, net, state, arms)
    next(iter(state.params.values()))[1, 0, 0] = bad
    after = judge(SCENARIO, net, state, arms)
    assert [r.diverged for r in after] == [False, True, False]
    assert (after[0], after[2]) == (before[0], before[2])
    found = tally(after, "clean")
    assert (found["diverged"], found["success"]["n"]) == (1, 9)
    assert found["accuracy"] == pytest.approx((before[0].accuracy + before[2].accuracy) / 2)


def test_a_weight_that_no_target_shows_is_seen():
    """Finite logits are not enough: a weight that is no number may sit behind a dead unit."""
    net = network("mlp", (1, 8, 8), 3)
    state = states(net)[-1]
    names = list(state.params)
    state.params[names[1]][0] = -1e9  # the units of the first layer of victim 0 are dead
    state.params[names[1]][0, 0] = -math.inf
    found = judge(SCENARIO, net, state, [("clean", v) for v in range(3)])
    assert [r.diverged for r in found] == [True, False, False]


NOISE, MORE_NOISE = noise(30, 0), noise(15, 1)

NOISY = make_scenario(NOISE, MORE_NOISE, "a", "b")


def test_noise_control_is_eight_bit_within_epsilon_and_reaches_it():
    noise = noise_poisons(NOISY, 20.5 / 255, 0)
    away = noise.int() - (NOISY.base_images * 255).round().int()
    assert noise.dtype == torch.uint8
    assert away.abs().max() == 20
    assert torch.equal(noise, noise_poisons(NOISY, 20.5 / 255, 0))


@pytest.mark.parametrize("perturbation", ["recolor", "both"])
def test_the_noise_control_changes_pictures_as_poisons_may(perturbation):
    """Recoloured by 2 levels, poisons had a control that was moved by 26."""
    epsilon, epsilon_c = 4 / 255, 0.03
    noise = noise_poisons(NOISY, epsilon, 0, epsilon_c, perturbation)
    away = (noise.float() / 255 - NOISY.base_images).abs().max()
    most = epsilon_c + (epsilon if perturbation == "both" else 0)
    assert 0.3 * most < away <= most + 1 / 255
    same = noise_poisons(NOISY, 99 / 255, 0, epsilon_c, perturbation)
    assert torch.equal(noise, same) == (perturbation == "recolor")  # where ε does not act


def test_twins_share_weights_and_order():
    pictures = {"poisoned": NOISE.x, "clean": NOISE.x}
    net = network("mlp", (1, 8, 8), 3)
    *_, (_, found) = train_victims(
        NOISY, net, Recipe(epochs=2, batch=5), pictures, victims=3, seed=0
    )
    for v in range(3):
        one, two = (r for r in found if r.victim == v)
        assert one.adversarial_probability == pytest.approx(two.adversarial_probability, abs=1e-6)
        assert one.accuracy == two.accuracy
    assert success_rate(found, "clean").n == 3
    assert len({r.adversarial_probability for r in found if r.arm == "clean"}) == 3


def test_victims_never_share_a_seed_with_surrogates():
    victims = {victim_seed(s, v) for s in range(20) for v in range(20)}
    surrogates = {
        stream(s, "surrogate", m, c) for s in range(20) for m in range(20) for c in range(5)
    }
    assert len(victims) == 400
    assert not victims & surrogates


@pytest.mark.parametrize("name", ["mlp", "convnet-bn"])
def test_who_watches_hears_of_the_targets_after_each_epoch_but_the_last(name):
    net, heard = network(name, (1, 8, 8), 3), []
    pictures = {"clean": TRAIN.x}
    given = {"victims": 2, "seed": 0}
    *_, (_, last) = train_victims(SCENARIO, net, RECIPE, pictures, **given, watch=heard.append)
    assert [len(said) for said in heard] == [2] * (RECIPE.epochs - 1)
    *_, (_, unwatched) = train_victims(SCENARIO, net, RECIPE, pictures, **given)
    assert last == unwatched  # who is watched learns nothing else
    state = states(net)[-2].pick(torch.arange(2))
    *_, before = judge(SCENARIO, net, state, [("clean", 0), ("clean", 1)])
    for said, wanted in zip(heard[-1][1].probabilities, before.probabilities, strict=True):
        assert said == pytest.approx(wanted, abs=1e-5)
    assert (heard[-1][1].success, heard[-1][1].accuracy) == (before.success, None)


def test_what_is_asked_about_again_goes_through_frozen_layers_once(monkeypatch):
    module, x, calls = last_layer(), torch.rand(5, 3, 16, 16), []
    usual = Frozen.__call__
    monkeypatch.setattr(Frozen, "__call__", lambda f, x: calls.append(len(x)) or usual(f, x))
    ask = asking(module, x)
    for seed in (1, 2):
        state = stack([init(module, seed), init(module, 10 + seed)])
        assert torch.equal(ask(state), predict(module, state, x))
    assert calls == [5, 5, 5]  # once for both, and `predict` each time
