"""Tests of mpkit.defenses.partition: the certificate against brute force."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from mpkit.defenses.defense import Defense
from mpkit.defenses.partition import (
    Voting,
    certificate,
    certified_shares,
    partition,
    parts_of,
    votes_of,
)
from mpkit.device import Plan
from mpkit.evaluation.victims import predict
from mpkit.functional import init, stack
from mpkit.networks import evaluations
from mpkit.recipe import Recipe
from mpkit.runs.prepared import Prepared
from mpkit.streams import stream
from mpkit.training import train
from tests.blobs import dataset, last_layer, small_bn, small_net

DATA = dataset(40, 0)
RECIPE = Recipe(epochs=2, batch=5)
FOUR = Defense(defense="partition", parts=4)


def elected(answers: tuple[int, ...], classes: int = 3) -> int:
    counts = [answers.count(c) for c in range(classes)]
    return counts.index(max(counts))


def test_the_certificate_is_what_brute_force_finds():
    for answers in itertools.product(range(3), repeat=5):
        votes = torch.tensor([answers.count(c) for c in range(3)])
        # Every insertion or removal touches one part, which may say anything after it.
        within = {r: set() for r in range(6)}
        for other in itertools.product(range(3), repeat=5):
            touched = sum(a != b for a, b in zip(answers, other, strict=True))
            within[touched].add(elected(other))
        turned = [r for r in range(6) if within[r] - {elected(answers)}]
        assert int(certificate(votes)) == min(turned) - 1


def test_a_changed_picture_is_one_removed_and_one_inserted():
    votes = torch.tensor([[0, 9, 1], [5, 5, 0], [10, 0, 0], [10, 0, 0]])
    assert certificate(votes).tolist() == [4, 0, 5, 5]
    y = torch.tensor([1, 0, 0, 2])  # the last one is certified and wrong
    assert certified_shares(votes, y, 3) == [0.75, 0.5, 0.5, 0]
    unanimous = torch.tensor([[239, 0]]), torch.tensor([0])
    assert certified_shares(*unanimous, 60)[-2:] == [1, 0]
    assert certified_shares(torch.tensor([[240, 0]]), torch.tensor([0]), 60)[-1] == 1


def test_parts_hold_every_picture_once_and_depend_on_no_other():
    rows = parts_of(DATA.x, 7)
    assert sorted(torch.cat(rows).tolist()) == list(range(40))
    without = parts_of(DATA.x[1:], 7)
    for mine, other in zip(rows, without, strict=True):
        assert [r - 1 for r in mine.tolist() if r] == other.tolist()
    assert [p.tolist() for p in parts_of(DATA.x.flip(0), 7)] == [
        [39 - r for r in p.tolist()] for p in rows
    ]


@pytest.mark.parametrize("net", [small_net, small_bn])
def test_each_part_is_a_model_of_its_own_pictures_and_they_vote(net):
    *_, (state, record) = partition(net(), DATA.x, DATA.y, RECIPE, [3, 4], defense=FOUR)
    assert record.epoch == 2
    answers = []
    for i, rows in enumerate(parts_of(DATA.x, 4)):
        seeds = [stream(s, "part", i) for s in (3, 4)]
        *_, (own, _) = train(net(), DATA.x[rows], DATA.y[rows], RECIPE, seeds)
        assert torch.equal(own.params["head.bias"], state.params[f"parts.{i}.head.bias"])
        answers.append(predict(net(), own, DATA.x).argmax(-1))
    voting = Voting(net(), 4)
    for name, module in evaluations(voting).items():
        z = predict(module, state, DATA.x)
        assert z.isfinite().all(), name
    votes = votes_of(voting, state, DATA.x)
    for m, n in itertools.product(range(2), range(40)):
        said = tuple(int(a[m, n]) for a in answers)
        assert votes[m, n].tolist() == [said.count(c) for c in range(3)]
        assert int(predict(voting, state, DATA.x)[m, n].argmax()) == elected(said)


def test_changing_a_picture_changes_two_parts_at_most():
    other = DATA.x.clone()
    other[5] = 1 - other[5]
    *_, (before, _) = partition(small_net(), DATA.x, DATA.y, RECIPE, [3], defense=FOUR)
    *_, (after, _) = partition(small_net(), other, DATA.y, RECIPE, [3], defense=FOUR)
    same = [
        torch.equal(before.params[f"parts.{i}.head.bias"], after.params[f"parts.{i}.head.bias"])
        for i in range(4)
    ]
    assert 1 <= same.count(False) <= 2


def test_empty_parts_and_the_batches_that_are_told():
    heard, many = [], dataclasses.replace(FOUR, parts=60)
    assert any(not len(rows) for rows in parts_of(DATA.x, 60))
    told = lambda done, of: heard.append((done, of))  # noqa: E731
    runs = partition(small_net(), DATA.x, DATA.y, RECIPE, [3], defense=many, tell=told)
    *_, (state, _) = runs
    assert heard[-1][0] == heard[-1][1] == len(heard)
    assert votes_of(Voting(small_net(), 60), state, DATA.x).sum(-1).unique().tolist() == [60]


def test_a_last_layer_votes_on_features_and_stacked_models_do():
    module = last_layer()
    x, y = dataset(12, 0, 3).x.repeat(1, 1, 2, 2), torch.arange(12) % 3
    *_, (state, _) = partition(module, x, y, RECIPE, [1, 2], defense=FOUR)
    votes = votes_of(Voting(module, 4), state, x)
    assert votes.shape == (2, 12, 3)
    assert votes.sum(-1).unique().tolist() == [4]
    fresh = stack([init(Voting(small_net(), 3), s) for s in (0, 1)])
    z = [predict(Voting(small_net(), 3), fresh, DATA.x, plan=p) for p in (Plan(), Plan(2))]
    assert torch.equal(*z)


def test_victims_that_vote_are_judged_like_others(small: Prepared):
    poisons = (255 * small.scenario.base_images).to(torch.uint8)
    *_, (_, records) = small.judge(poisons, arms=("clean",), defense=FOUR)
    assert len(records) == small.attack.victims
    assert not any(r.diverged for r in records)
    assert all(abs(sum(p) - 1) < 1e-5 for r in records for p in r.probabilities)
