"""Who attacks whom, and a whole run in memory."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch

from mpkit.data.faces import USUAL_SIGNS
from mpkit.data.fashion import CLASSES
from mpkit.defenses.defense import Defense
from mpkit.device import Plan
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import tallies
from mpkit.evaluation.victims import VictimRecord, noise_poisons, train_victims
from mpkit.metapoison import craft, poisons_of
from mpkit.networks import network
from mpkit.recipe import Recipe
from mpkit.runs import pairs as attacks
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import load_scenario, prepare

TINY = {
    "data": "digits", "size": 10, "n_train": 60, "models": 2, "craft_steps": 2, "epochs": 2,
    "victims": 2, "batch": 20, "unroll_steps": 2, "target_index": (0,),
}  # fmt: skip

NAMES = tuple("0123456789")


# ── who attacks whom ────────────────────────────────────────────────────────────────────────────


def classes(**given) -> tuple[str, str]:
    """(target, poison) as names."""
    s = load_scenario(make_attack("ci", **TINY | given))
    poison = s.train.y[s.bases].unique()
    return s.train.classes[s.target_labels[0]], s.train.classes[poison] if len(poison) == 1 else "*"


@pytest.fixture
def two_pairs(monkeypatch):
    """Of our own, since those of the library are searched for and may change."""
    monkeypatch.setattr(attacks, "PAIRS", (("5", "2"), ("3", "8")))


def test_classes_that_are_left_out_differ_always(two_pairs):
    for target in (None, *"3809"):
        for poison in (None, *"3809"):
            if target != poison or target is None:
                a, b = classes(target_class=target, poison_class=poison)
                assert a != b
                assert target in (None, a)
                assert poison in (None, b)
    # The first pair that fits.
    assert classes() == ("5", "2")
    assert classes(poison_class="2") == ("5", "2")
    assert classes(poison_class="9") == ("5", "9")
    assert classes(target_class="3") == ("3", "8")
    assert classes(target_class="3", poison_class="5") == ("3", "5")


def test_classes_that_are_left_out_come_from_those_that_are_kept(two_pairs):
    assert classes(classes=("2", "1", "5")) == ("5", "2")
    assert classes(classes=("7", "1", "5")) == ("7", "5")
    assert classes(classes=("8", "3")) == ("3", "8")
    assert classes(classes=("8", "3"), target_class="8") == ("8", "3")


def test_the_other_goals_choose_their_own_classes(two_pairs):
    assert classes(goal="self-concealment") == ("5", "5")
    assert classes(goal="self-concealment", target_class="4") == ("4", "4")
    assert classes(goal="multi-class", adversarial_class="8") == ("5", "*")


@pytest.mark.parametrize("data", ["digits", "signs", "fashion", "cifar10"])
def test_there_is_a_pair_for_every_source(data):
    names = {
        "digits": NAMES,
        "signs": USUAL_SIGNS,
        "fashion": CLASSES,
        "cifar10": ("airplane", "bird", "dog", "frog"),
    }[data]
    assert any(set(pair) <= set(names) for pair in attacks.PAIRS)
    assert all(target != poison for target, poison in attacks.PAIRS)


def test_several_targets_and_another_adversarial_class():
    given = make_attack(
        "ci",
        **TINY | {"target_index": (4, 0)},
        target_class="1",
        poison_class="2",
        adversarial_class="7",
    )
    s = load_scenario(given)
    assert s.adversarial.tolist() == [7, 7]
    assert s.target_labels.tolist() == [1, 1]
    assert s.target_rows[0] > s.target_rows[1]


def test_the_data_are_what_was_asked_for():
    s = load_scenario(make_attack("ci", **TINY | {"n_test": 30, "classes": ("4", "9", "0")}))
    assert s.train.shape == (1, 10, 10)
    assert (len(s.train), len(s.validation)) == (60, 29)
    assert s.train.classes == ("4", "9", "0")
    clean = load_scenario(make_attack("ci", **TINY | {"noise": 0}))
    noisy = load_scenario(make_attack("ci", **TINY))
    assert torch.equal(clean.train.y, noisy.train.y)
    assert not torch.equal(clean.train.x, noisy.train.x)


# ── a whole run ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def run(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPKIT_DATA", str(cache))
        ready = prepare(make_attack("ci", **TINY, victim_lr=0.3, victim_network="convnet"))
        steps = list(ready.craft())
        poisons = poisons_of(ready.scenario, steps[-1][0], ready.attack.settings)
        return ready, steps, poisons, list(ready.judge(poisons))


def test_a_run_is_what_the_library_does(run):
    ready, steps, poisons, judged = run
    s, settings = ready.scenario, ready.attack.settings
    surrogate = network("mlp", s.train.shape, 10)
    alone = list(craft(s, surrogate, settings, None, ready.plan))
    assert [r.losses for _, r in alone] == [r.losses for _, r in steps]
    assert torch.equal(poisons_of(s, alone[-1][0], settings), poisons)

    pictures = {
        "poisoned": s.poisoned(poisons.float() / 255),
        "clean": s.train.x,
        "noise": s.poisoned(noise_poisons(s, settings.epsilon, settings.seed).float() / 255),
    }
    recipe = Recipe(epochs=2, batch=20, lr=0.3)
    victim = network("convnet", s.train.shape, 10, fused=True)
    seed, plan = settings.seed, ready.victim_plan
    found = train_victims(s, victim, recipe, pictures, victims=2, seed=seed, plan=plan)
    assert list(found) == judged


def test_a_run_goes_on_from_any_state(run):
    ready, steps, *_ = run
    (state, record), *rest = ready.craft(steps[0][0])
    assert not rest
    assert record.losses == steps[1][1].losses
    assert torch.equal(state.parameters["delta"], steps[1][0].parameters["delta"])


def test_arms_may_be_left_out(run):
    ready, _, poisons, judged = run
    *_, (_, records) = ready.judge(poisons, arms=("clean",))
    assert [r.arm for r in records] == ["clean", "clean"]
    # Beside other arms or alone: another stacking of the same sums.
    wanted = [r for r in judged[-1][1] if r.arm == "clean"]
    assert [r.predicted for r in records] == [r.predicted for r in wanted]
    for found, other in zip(records, wanted, strict=True):
        assert found.true_probability == pytest.approx(other.true_probability, rel=1e-4)


def test_plans_that_are_given_are_kept(monkeypatch):
    monkeypatch.setattr("mpkit.runs.prepared.plan_for", None)
    plans = Plan(2, 1), Plan(1, 2)
    ready = prepare(make_attack("ci", **TINY), True, *plans)
    assert (ready.plan, ready.victim_plan) == plans


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="device 'vulkan' is not here"):
        prepare(make_attack("ci", **TINY, device="vulkan"))


def test_rates_and_accuracies_are_counted_arm_by_arm():
    draw = random.Random(0)
    records = [
        VictimRecord(arm, v, (0, 1), (draw.random() < 0.5, draw.random() < 0.5), (), (), v / 7)
        for arm in ("noise", "poisoned")
        for v in range(5)
    ]
    found = tallies(records)
    assert list(found) == ["poisoned", "noise"]  # in the order of ARMS, and none that is not there
    assert set(found) < set(ARMS)
    for arm, values in found.items():
        won = sum(s for r in records if r.arm == arm for s in r.success)
        assert (values["success"]["successes"], values["success"]["n"]) == (won, 10)
        # Wilson's interval: where |p − won/n| is 1.96 standard errors of p.
        for p in (values["success"]["low"], values["success"]["high"]):
            assert abs(p - won / 10) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 10), 1e-4)
        assert values["accuracy"] == pytest.approx(2 / 7)
    json.dumps(found)


# ── victims that defend themselves ──────────────────────────────────────────────────────────────


def test_victims_defend_themselves_as_the_attack_says():
    ready = prepare(make_attack("ci", **TINY, defense="jpeg", jpeg_quality=10))
    poisons = (255 * ready.scenario.base_images).to(torch.uint8)
    found = list(ready.judge(poisons))
    assert [epoch for epoch, _ in found] == list(range(1, ready.epochs() + 1))
    assert ready.epochs() == 3 * ready.attack.victim_recipe.epochs
    assert list(ready.judge(poisons, defense=ready.attack.defense)) == found
    undefended = list(ready.judge(poisons, defense=Defense()))
    assert len(undefended) == ready.epochs(defense=Defense())
    assert [len(records) for _, records in found[:-1]] == [0] * (len(found) - 1)
    victims = ready.attack.victims
    assert [r.arm for r in found[-1][1]] == [arm for arm in ARMS for _ in range(victims)]
    assert undefended[-1][1][0].probabilities != found[-1][1][0].probabilities
    assert ready.screened(poisons) == ({}, {})


def test_what_a_filter_throws_away_is_counted_arm_by_arm():
    ready = prepare(make_attack("ci", **TINY, defense="loss", suspected=0.2))
    poisons = (255 * ready.scenario.base_images).to(torch.uint8)
    kept, counts = ready.screened(poisons)
    for arm, found in counts.items():
        assert found.caught + found.lost == int((~kept[arm].keep).sum()) > 0
        assert found.poisons + found.innocents == len(ready.scenario.train)
        assert found.poisons == (len(poisons) if arm == "poisoned" else 0)
    assert list(ready.judge(poisons, kept=kept)) == list(ready.judge(poisons))


def test_poisons_do_not_depend_on_the_defense():
    attack = make_attack("ci", **TINY)
    defended = make_attack("ci", **TINY, defense="jpeg")
    assert attack != defended
    assert attack.without_victims() == defended.without_victims()
