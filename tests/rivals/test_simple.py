"""Noise, watermarks and flipped labels."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpkit import make_attack, poisons_of, prepare
from mpkit.evaluation.victims import noise_poisons
from mpkit.metapoison import craft
from mpkit.rivals.simple import flipped
from mpkit.runs.prepared import Prepared
from mpkit.settings import Settings
from tests.blobs import SMALL, run, setting, small_net


def made(method: str, **given) -> tuple:
    settings = dataclasses.replace(SMALL, method=method, **given)
    scenario = setting(3, target_index=[1, 2])
    state, records = run(settings, scenario)
    return scenario, settings, poisons_of(scenario, state, settings), records


@pytest.mark.parametrize("perturbation", ["additive", "recolor", "both"])
def test_noise_is_the_noise_of_the_control(perturbation):
    scenario, s, poisons, _ = made("noise", perturbation=perturbation)
    given = s.epsilon, s.seed, s.epsilon_c, perturbation
    assert torch.equal(poisons, noise_poisons(scenario, *given))


@pytest.mark.parametrize(("opacity", "epsilon"), [(0.3, 1.0), (0.3, 0.05), (1.0, 0.1)])
def test_a_watermark_is_as_much_of_the_target_as_epsilon_allows(opacity, epsilon):
    scenario, _, poisons, _ = made("watermark", opacity=opacity, epsilon=epsilon)
    for i, (poison, base) in enumerate(zip(poisons, scenario.base_images, strict=True)):
        delta = opacity * (scenario.targets[i % 2] - base)
        expected = base + delta.clamp(-epsilon, epsilon)
        assert (poison - 255 * expected).abs().max() <= 1.01  # rounded, towards the base at ε


def test_a_watermark_needs_something_that_is_added():
    with pytest.raises(ValueError, match="perturbation recolor only recolours them: use additive"):
        Settings(method="watermark", perturbation="recolor")


def test_what_is_made_at_once_asks_clean_models_of_the_target():
    *_, records = made("noise")
    assert len({r.losses for r in records}) == 1
    assert records[0].losses != (0.0,) * 3


def test_epsilon_may_still_be_turned():
    scenario, settings = setting(), dataclasses.replace(SMALL, method="noise")
    now = [settings]
    steps = craft(scenario, small_net(), lambda: now[0])
    next(steps)
    now[0] = dataclasses.replace(settings, epsilon=0.4)
    state, _ = next(steps)
    assert state.parameters["delta"].abs().max() > 0.3


def test_flipped_pictures_are_the_nearest_of_the_targets_class():
    scenario = setting(3, 60, target_index=2)
    found = flipped(scenario)
    assert len(found.bases) == len(scenario.bases)
    apart = [(x - scenario.targets[0]).square().sum() for x in scenario.train.x]
    mine = [i for i, c in enumerate(scenario.train.y) if c == scenario.target_labels[0]]
    nearest = sorted(mine, key=lambda i: apart[i])[: len(scenario.bases)]
    assert found.bases.tolist() == sorted(nearest)
    assert flipped(found).bases.tolist() == found.bases.tolist()
    y = found.poisoned_labels
    assert (y[found.bases] == scenario.adversarial[0]).all()
    changed = y != scenario.train.y
    assert changed.nonzero().flatten().tolist() == sorted(nearest)
    assert scenario.poisoned_labels is scenario.train.y


def test_too_many_flips_and_a_goal_without_a_class_are_refused():
    with pytest.raises(ValueError, match=r"flips 8 labels, .* has only 7 .* at most 0.35"):
        flipped(dataclasses.replace(setting(n=20), bases=torch.arange(8)))
    with pytest.raises(ValueError, match=r"self-concealment names none"):
        flipped(setting(goal="self-concealment", poison_class=None))


@pytest.fixture(scope="module")
def flips() -> Prepared:
    given = {"data": "signs", "fine_tune": "no", "n_train": 120, "n_test": 40, "victims": 2}
    given |= {"target_index": 0, "method": "label-flip"}
    return prepare(make_attack("ci", **given), progress=False)


def test_victims_of_flipped_labels_train_on_them_and_their_twins_do_not(flips):
    *_, (state, _) = flips.craft()
    poisons = poisons_of(flips.scenario, state, flips.attack.settings)
    assert torch.equal(poisons.float() / 255, flips.scenario.base_images)
    arms = flips.arms(poisons)
    assert (arms["poisoned"].y != arms["clean"].y).sum() == len(flips.scenario.bases)
    assert torch.equal(arms["noise"].y, arms["clean"].y)
    *_, (_, records) = flips.judge(poisons)
    wanted = {arm: [r for r in records if r.arm == arm] for arm in ("poisoned", "clean")}
    told = {a: sum(r.adversarial_probability[0] for r in found) for a, found in wanted.items()}
    assert told["poisoned"] > told["clean"]
    # A scenario that is flipped already is as good, and names the same classes.
    again = prepare(flips.attack, progress=False, scenario=flips.scenario)
    assert again.attack == flips.attack
    assert torch.equal(again.scenario.bases, flips.scenario.bases)
