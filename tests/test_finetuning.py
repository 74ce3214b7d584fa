"""Fine-tuning: what trains, what it begins with, and gradients through what is frozen."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.func import functional_call

from mpkit.batches import unroll_rows
from mpkit.data import load_dataset
from mpkit.data.archives import DataError
from mpkit.evaluation.victims import judge, predict, timed
from mpkit.finetuning import (
    DEFAULT_WEIGHTS,
    SHIPPED,
    features,
    load_weights,
    seen,
    sight,
    sighted,
    tuned_network,
)
from mpkit.functional import init, stack
from mpkit.metapoison import crafting, poisons_of
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.runs.pretraining import accuracy
from mpkit.telling import Count
from mpkit.training import train
from tests.conftest import SHARED, tuned_attack


def net(fine_tune="last", shape=(3, 32, 32), classes=6):
    return tuned_network(
        "convnet-small", shape, classes, fine_tune=fine_tune, weights=DEFAULT_WEIGHTS
    )


def whole(last, head, shape=(3, 32, 32), classes=6):
    """The same model as one network: the shipped layers, and a last layer's weights."""
    module = network("convnet-small", shape, classes)
    state = init(module, 0)
    own = load_weights().tensors | head
    return module, state.__class__(*({k: own[k] for k in part} for part in state))


# ── what ships ───────────────────────────────────────────────────────────────────────────────────


def test_the_weights_that_ship_are_small_and_say_where_they_come_from():
    path = SHIPPED / f"{DEFAULT_WEIGHTS}.safetensors"
    assert path.stat().st_size < 2**20
    held = load_weights()
    assert held.network == "convnet-small"
    assert {"data", "pictures", "recipe", "seed", "accuracy"} <= held.origin.keys()


@pytest.mark.parametrize("what", ["missing", "cut", "other network", "not finite", "text"])
def test_weights_that_will_not_do_are_refused(tmp_path, what):
    path, held = tmp_path / "w.safetensors", load_file(SHIPPED / f"{DEFAULT_WEIGHTS}.safetensors")
    if what == "cut":
        path.write_bytes((SHIPPED / f"{DEFAULT_WEIGHTS}.safetensors").read_bytes()[:5000])
    if what == "other network":
        save_file(held, path, {"network": "resnet20"})
    if what == "not finite":
        held["features.conv1.weight"][0] = torch.nan
        save_file(held, path, {"network": "convnet-small"})
    if what == "text":
        path.write_text("weights")
    with pytest.raises(DataError, match=DEFAULT_WEIGHTS):
        load_weights(str(path))


def test_a_file_that_is_replaced_is_read_anew(tmp_path):
    path, held = tmp_path / "w.safetensors", dict(load_weights().tensors)
    save_file(held, path, {"network": "convnet-small"})
    before = load_weights(str(path))
    held["features.conv1.bias"] = held["features.conv1.bias"] + 1
    save_file(held, path, {"network": "convnet-small", "data": "other"})
    assert load_weights(str(path)).digest != before.digest


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason=f"NOT TESTED on CIFAR-10: no pictures at {SHARED}")
def test_the_weights_that_ship_are_as_good_as_they_say():

    held = load_weights()
    train_set, test = load_dataset(SHARED, max_train=2000, progress=False)
    module = net("last", classes=10)
    *_, (state, _) = train(module, train_set.x, train_set.y, Recipe(epochs=10), [0])
    # A last layer on a fifth of the pictures comes near the network's own.
    assert accuracy(module, state.pick(0), test) > float(held.origin["accuracy"].split()[0]) - 0.08


# ── what trains ──────────────────────────────────────────────────────────────────────────────────


def test_only_the_last_layer_trains_and_it_is_the_whole_network_that_speaks():
    scenario, module = load_scenario(tuned_attack(), progress=False), net()
    *_, (state, _) = train(module, scenario.train.x, scenario.train.y, Recipe(epochs=3), [1, 2])
    assert state.params.keys() == {"head.weight", "head.bias"}
    said = predict(module, state, scenario.validation.x)
    for m in range(2):
        full, weights = whole(module, state.pick(m).params)
        with torch.no_grad():
            z = functional_call(full.eval(), (*weights,), (scenario.validation.x,))
        torch.testing.assert_close(said[m], z, rtol=1e-4, atol=1e-4)


def test_all_layers_begin_with_the_weights_under_a_last_layer_of_the_seeds_own():
    module, given = net("all"), load_weights().tensors
    one, other = init(module, 1), init(module, 2)
    for k, v in given.items():
        held = one.params if k in one.params else one.stats
        assert torch.equal(held[k], v), k
    assert not torch.equal(one.params["head.weight"], other.params["head.weight"])
    x, y = torch.rand(20, 3, 32, 32), torch.arange(20) % 6
    *_, (state, _) = train(module, x, y, Recipe(epochs=1, batch=10), [1])
    moved = [k for k, v in state.pick(0).params.items() if not torch.equal(v, one.params[k])]
    assert len(moved) == len(one.params)
    assert all(torch.equal(v, load_weights().tensors[k]) for k, v in given.items())


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 32, 32), (3, 64, 48), (1, 8, 8), (3, 9, 17)])
@pytest.mark.parametrize("fine_tune", ["last", "all"])
def test_any_pictures_fit(shape, fine_tune):
    module = net(fine_tune, shape, 3)
    x, y = torch.rand(12, *shape), torch.arange(12) % 3
    *_, (state, _) = train(module, x, y, Recipe(epochs=1, batch=6), [0, 1])
    assert predict(module, state, x).shape == (2, 12, 3)
    assert features(module, state.pick(0), x).shape == (12, 256)


def test_pictures_that_change_while_training_are_seen_as_they_are():
    module, recipe = net(classes=2), Recipe(epochs=2, batch=10)
    first, second = torch.rand(2, 20, 3, 32, 32)
    y, turns = torch.arange(20) % 2, iter([first, second])
    *_, (changing, _) = train(module, first, y, recipe, [0], own_x=lambda m: next(turns))
    *_, (steady, _) = train(module, first, y, recipe, [0])
    assert not torch.equal(changing.params["head.weight"], steady.params["head.weight"])


# ── gradients ────────────────────────────────────────────────────────────────────────────────────


def slow_gradient(ready, state, poisons, orders, lr, steps):
    """∂ mean_k L_adv / ∂ pixels for one surrogate and its first batch, by plain autograd of the
    whole program in pictures, frozen layers and all."""
    scenario, module = ready.scenario, ready.network
    pixels = poisons.clone().requires_grad_()
    frozen = lambda x: module.frozen(x).flatten(1)  # noqa: E731
    w, b = (state.params[k].clone().requires_grad_() for k in ("head.weight", "head.bias"))
    rows = unroll_rows(sight(module, scenario), orders[None], steps)
    loss = 0
    slots = scenario.slots
    for k in range(steps):
        batch = rows.rows[0, 0, k]
        x = scenario.train.x[batch]
        mine = slots[batch] < len(poisons)
        full = x.clone()
        full[mine] = pixels[slots[batch][mine]] if k == 0 else pixels.detach()[slots[batch][mine]]
        step = F.cross_entropy(frozen(full) @ w.T + b, scenario.train.y[batch])
        gw, gb = torch.autograd.grad(step, (w, b), create_graph=True)
        w, b = w - lr * gw, b - lr * gb
        z = frozen(scenario.targets)[0] @ w.T + b
        others = z.clone()
        others[scenario.adversarial[0]] = -torch.inf
        loss = loss + (others.max() - z[scenario.adversarial[0]]) / steps
    return torch.autograd.grad(loss, pixels)[0], loss


def test_the_gradient_through_the_frozen_layers_is_that_of_the_whole_program():
    ready = prepare(tuned_attack(epochs=2, models=1, unroll_steps=3), progress=False)
    s = ready.attack.settings
    run = crafting(ready.scenario, ready.network, s)
    state = stack([init(ready.network, 3)])
    poisons = ready.scenario.base_images + 0.01 * torch.randn(
        ready.scenario.base_images.shape, generator=torch.Generator().manual_seed(0)
    )
    orders = torch.arange(len(ready.scenario.train)).view(1, 1, -1)[..., :20]
    rows, pull = sighted(ready.network, poisons)
    found, loss, _ = run._epoch(
        rows, s, slice(0, 1), state.pick(0), orders[0], torch.tensor(0.1), count=Count(None, 1)
    )
    wanted, expected = slow_gradient(ready, state.pick(0), poisons, orders[0], 0.1, 3)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(pull(found), wanted, rtol=1e-3, atol=1e-7)


def test_a_network_that_trains_as_a_whole_sees_pictures():
    ready = prepare(tuned_attack(fine_tune="all"), progress=False)
    x = ready.scenario.train.x[:4]
    assert seen(ready.network, x) is x
    assert sight(ready.network, ready.scenario) is ready.scenario
    same, pull = sighted(ready.network, x)
    assert same is x
    assert pull(x) is x


# ── the attack ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fine_tune", ["last", "all"])
@pytest.mark.parametrize("victim", [None, "last", "all"])
def test_an_attack_runs_whoever_trains_what(fine_tune, victim):
    ready = prepare(tuned_attack(fine_tune=fine_tune, victim_fine_tune=victim), progress=False)
    *_, (state, _) = ready.craft()
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    change = poisons.int() - (255 * ready.scenario.base_images).round().int()
    assert 0 < change.abs().max() <= 8
    records, _ = timed(ready.judge(poisons))
    assert len(records) == 6
    assert ("frozen" in vars(ready.victim_network)) == ((victim or fine_tune) == "last")


def test_victims_of_another_network_are_trained_from_scratch():
    ready = prepare(tuned_attack(victim_network="mlp"), progress=False)
    assert ready.attack.tuning_of_victims == "no"
    assert "features.2.weight" in dict(ready.victim_network.named_parameters())
    assert prepare(tuned_attack(), progress=False).attack.tuning_of_victims == "last"


def test_judging_victims_takes_pictures():
    ready = prepare(tuned_attack(), progress=False)
    state = stack([init(ready.network, 0)])
    (record,) = judge(ready.scenario, ready.victim_network, state, [("clean", 0)])
    assert 0 <= record.accuracy <= 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"network": "mlp"}, "convnet-small, not of mlp"),
        ({"weights": "imagenet"}, "there are cifar10-small"),
        ({"victim_network": "resnet20", "victim_fine_tune": "all"}, "not of resnet20"),
    ],
)
def test_networks_and_weights_that_do_not_fit_are_refused(given, named):
    with pytest.raises(ValueError, match=named):
        prepare(tuned_attack(**given), progress=False)
