"""What an attack is made of: the very functions and shapes that a run has."""

from __future__ import annotations

import pytest
import torch
from torch.utils._pytree import tree_leaves

from mpkit.device import Plan
from mpkit.metapoison import craft
from mpkit.runs import trial
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import prepare
from mpkit.runs.trial import CIFAR10, META, SURROGATE, VICTIM, pieces, sizes_of, timed
from mpkit.tracing import Traced

TINY = {
    "scale": "ci", "data": "digits", "size": 10, "n_train": 60, "n_test": 100, "models": 2,
    "craft_steps": 1, "epochs": 2, "batch": 20, "target_index": 0, "victims": 1,
}  # fmt: skip
CPU = torch.device("cpu")


def looks(tree) -> list[tuple]:
    return [(tuple(t.shape), t.dtype) for t in tree_leaves(tree)]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"network": "convnet-bn", "surrogate_data": "clean"},
        {"victim_momentum": 0.9},
        {"fine_tune": "last", "network": "convnet-small"},
    ],
)
def test_pieces_have_the_shapes_of_a_run(more, monkeypatch):
    attack = make_attack(**TINY | more)
    seen = {}

    def noted(self, *given):
        seen.setdefault(self.f.__name__, {})[str(looks(given))] = looks(given)
        return self.plain(*given)

    monkeypatch.setattr(Traced, "__call__", noted)
    ready = prepare(attack, progress=False, plan=Plan(), victim_plan=Plan())
    list(craft(ready.scenario, ready.network, attack.settings, plan=Plan()))
    list(ready.judge((255 * ready.scenario.base_images).to(torch.uint8)))
    found = pieces(attack, sizes_of(attack))
    assert list(found) == [META, SURROGATE, VICTIM]
    for piece in found.values():
        assert looks(piece.given) in seen[piece.f.__name__].values()
        assert looks(piece.on(CPU)) == looks(piece.given)


def test_what_is_made_at_once_has_no_meta_gradient():
    attack = make_attack(**TINY, method="watermark")
    assert list(pieces(attack, sizes_of(attack))) == [SURROGATE, VICTIM]


def test_the_sizes_of_cifar10_are_known_without_it(monkeypatch):
    monkeypatch.setattr(trial, "load_dataset", None)
    assert sizes_of(make_attack(scenario="dog-bird")) == CIFAR10
    assert sizes_of(make_attack(scenario="quickstart")) == CIFAR10._replace(train=5000)
    small = make_attack(scenario="quickstart", n_train=70, max_test=10**6)
    assert sizes_of(small)[:2] == (70, 10_000)


def test_the_sizes_of_other_data_are_asked_of_them():
    assert sizes_of(make_attack(**TINY)) == (60, 100, (1, 10, 10), 10)


@pytest.mark.parametrize("plan", [Plan(), Plan(1, 2), Plan(3)])
def test_a_trial_runs_what_a_run_does(plan):
    attack = make_attack(**TINY | {"unroll_steps": 1, "victim_momentum": 0.5})
    for piece in pieces(attack, sizes_of(attack), batch=7).values():
        assert piece.given[-2].shape[0] in (7, 1)
        assert timed(piece, CPU, plan, 3, seconds=0) > 0


def test_it_may_be_of_another_type():
    piece = pieces(make_attack(**TINY), sizes_of(make_attack(**TINY)))[VICTIM]
    assert timed(piece, CPU, Plan(), 1, seconds=0, dtype=torch.float64) > 0
    assert {t.dtype for t in tree_leaves(piece.on(CPU, torch.float64))} == {
        torch.float64,
        torch.int64,
    }
