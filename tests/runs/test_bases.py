"""Which pictures become poisons: the first of their class, or the nearest to the target."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.func import functional_call

from mpkit.evaluation.targets import aimed
from mpkit.finetuning import load_weights
from mpkit.networks import network
from mpkit.runs.attack import Attack, make_attack, retuned
from mpkit.runs.bases import based, nearest
from mpkit.runs.facts import facts_of
from mpkit.runs.idle import idle
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.runs.saved import from_dict, to_dict
from mpkit.runs.story import BASES
from tests.blobs import GOALS, setting

NEAREST = {"data": "signs", "target_index": (0,), "bases": "nearest", "budget": 0.1}


def cosines(seen: np.ndarray, aims: np.ndarray) -> np.ndarray:
    """The mean cosine of each row of (N, width) with those of (T, width), a pair at a time."""
    pairs = [
        [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in aims.astype(float)]
        for a in seen.astype(float)
    ]
    return np.array(pairs).mean(1)


def nearest_of_each(scenario, seen: np.ndarray, aims: np.ndarray) -> list[int]:
    """As many of each class as the scenario has bases of it, one after the other."""
    labels, found = scenario.train.y.tolist(), []
    near = cosines(seen, aims)
    for c in range(len(scenario.train.classes)):
        mine = [i for i, y in enumerate(labels) if y == c]
        count = sum(labels[i] == c for i in scenario.bases.tolist())
        found += sorted(mine, key=lambda i: -near[i])[:count]
    return sorted(found)


@pytest.mark.parametrize("goal", GOALS)
def test_nearest_by_pixels_are_those_that_a_loop_finds(goal):
    first = setting(n=40, budget=0.2, **GOALS[goal])
    found = nearest(first)
    pixels = first.train.x.flatten(1).numpy(), first.targets.flatten(1).numpy()
    assert found.bases.tolist() == nearest_of_each(first, *pixels)
    assert found.bases.tolist() != first.bases.tolist()
    assert found.bases.dtype == torch.int64
    counts = [s.train.y[s.bases].bincount().tolist() for s in (first, found)]
    assert counts[0] == counts[1]  # of each class as many


@pytest.mark.parametrize("budget", [0.02, 0.1, 0.22])
@pytest.mark.parametrize("seed", range(4))
def test_of_pictures_that_are_there_twice_the_first_is_taken(seed, budget):
    # What is seen of equal pictures may differ in the last digit.
    first = setting(n=40, budget=budget, target_index=seed)
    train = first.train
    twice = dataclasses.replace(train, x=torch.cat([train.x] * 2), y=torch.cat([train.y] * 2))
    draw = torch.Generator().manual_seed(seed)
    noisy = lambda x: x * (1 + 1e-12 * torch.rand(x.shape, generator=draw, dtype=x.dtype))  # noqa: E731
    found = set(nearest(dataclasses.replace(first, train=twice), noisy).bases.tolist())
    assert {row - 40 for row in found if row >= 40} <= found


def test_other_labels_are_other_pictures():
    first, known = setting(n=40, budget=0.1), {}
    nearest(first, known=known)
    other = dataclasses.replace(first.train, y=first.train.y.roll(1))
    changed = dataclasses.replace(first, train=other, bases=other.rows_of(1)[:4])
    assert torch.equal(nearest(changed, known=known).bases, nearest(changed).bases)


def test_of_equals_the_first_are_taken():
    first = setting(n=40, budget=0.1)
    train = dataclasses.replace(first.train, x=first.train.x[:1].expand(40, -1, -1, -1).clone())
    assert nearest(dataclasses.replace(first, train=train)).bases.tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("fine_tune", ["last", "all"])
def test_fine_tuned_they_are_nearest_by_what_the_weights_see(fine_tune):
    attack = make_attack("ci", **NEAREST, fine_tune=fine_tune)
    first = load_scenario(dataclasses.replace(attack, bases="first"))
    body = network("convnet-small", first.train.shape, 10).features.eval()
    held = {k.removeprefix("features."): v for k, v in load_weights().tensors.items()}
    with torch.no_grad():
        seen, aims = (functional_call(body, held, (x,)) for x in (first.train.x, first.targets))
    found = load_scenario(attack)
    assert found.bases.tolist() == nearest_of_each(first, seen.numpy(), aims.numpy())
    by_pixels = nearest(first)
    assert found.bases.tolist() != by_pixels.bases.tolist()
    scratch = make_attack("ci", **NEAREST, fine_tune="no")
    assert load_scenario(scratch).bases.tolist() == by_pixels.bases.tolist()


def test_what_is_seen_of_training_pictures_is_computed_once(monkeypatch):
    attack = make_attack("ci", **NEAREST)
    scenario = load_scenario(dataclasses.replace(attack, bases="first"))
    counts, see = [], functional_call
    monkeypatch.setattr(
        "mpkit.finetuning.functional_call",
        lambda m, w, x: counts.append((len(x[0]), x[0].dtype)) or see(m, w, x),
    )
    for index in (0, 1, 2):
        based(attack, aimed(scenario, (index,)))
    many = len(scenario.train.rows_of(int(scenario.train.y[scenario.bases[0]])))
    # In double precision: every machine finds the same.
    assert counts == [(1, torch.float64), (many, torch.float64)] + 2 * [(1, torch.float64)]


def test_they_follow_the_target_that_the_rule_finds():
    given = {"data": "digits", "n_train": 200, "size": 8, "epochs": 5, "bases": "nearest"}
    given["budget"] = 0.03
    attack = make_attack("ci", **given)
    found = load_scenario(attack)
    assert found.bases.tolist() == nearest(found).bases.tolist()
    named = prepare(attack, scenario=found).attack
    assert named.target_index
    assert load_scenario(named).bases.tolist() == found.bases.tolist()
    other = dataclasses.replace(named, target_index=(named.target_index[0] + 1,))
    assert load_scenario(other).bases.tolist() != found.bases.tolist()
    ready = prepare(other, scenario=aimed(found, other.target_index))
    assert ready.scenario.bases.tolist() == load_scenario(other).bases.tolist()


def test_older_runs_and_codes_have_the_first():
    values = to_dict(make_attack("ci", **NEAREST))
    assert from_dict(json.loads(json.dumps(values))).bases == "nearest"
    del values["bases"]
    assert from_dict(values).bases == "first" == Attack().bases


def test_another_choice_is_named():
    with pytest.raises(ValueError, match="bases 'farthest' is unknown; there are: first, nearest"):
        make_attack("ci", **NEAREST | {"bases": "farthest"})


def test_flipped_labels_are_chosen_by_their_own_rule():
    given = {"method": "label-flip", "data": "signs", "target_index": (0,)}
    one, two = (load_scenario(make_attack("ci", **given, bases=name)) for name in BASES)
    assert torch.equal(one.bases, two.bases)
    attack = make_attack("ci", **given, bases="nearest")
    assert "takes the nearest by pixels" in idle(attack, ["bases"], lambda n, v=None: n)["bases"]
    attack = make_attack("ci", **NEAREST)
    assert not idle(attack, ["bases"], lambda n, v=None: n)


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({}, True),
        ({"bases": "nearest"}, False),
        ({"fine_tune": "no"}, False),
        ({"goal": "self-concealment"}, False),
        ({"budget": 1 / 6}, False),  # the whole class
    ],
)
def test_a_failure_proposes_others_where_that_was_measured_to_help(given, choice):
    attack = make_attack("ci", data="signs", target_index=(0,), **given)
    assert facts_of(attack, [], [], load_scenario(attack)).choice == choice


@pytest.mark.parametrize(
    ("data", "fine_tune", "bases"),
    [("signs", "last", "first"), ("cifar10", "last", "nearest"), ("pets.zip", "all", "nearest"),
     ("cifar10", "no", "nearest"), ("signs", "no", "first")],
)  # fmt: skip
def test_photographs_have_the_nearest(data, fine_tune, bases):
    assert make_attack("laptop", data=data, fine_tune=fine_tune).bases == bases
    assert make_attack("laptop", data=data, fine_tune=fine_tune, bases="first").bases == "first"


def test_other_training_brings_the_choice_that_is_usual_with_it():
    attack = make_attack("ci", **NEAREST)
    usual = make_attack("ci", data="signs", fine_tune="no")
    assert retuned(attack, "no").bases == usual.bases
