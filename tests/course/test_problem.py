"""The small problems of chapter 03."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpkit.course.problem import POISONS, WANTED, batches_of, picture_problem, toy_models
from mpkit.functional import init, logits
from mpkit.layers import BatchNorm2d
from mpkit.networks import network


def test_a_problem_has_its_poisons_first_and_a_target_of_another_class():
    problem = picture_problem(0)
    assert problem.x.shape == (12, 1, 8, 8)
    assert problem.x.dtype == torch.float64
    assert problem.y[:POISONS].tolist() == [WANTED] * POISONS
    assert torch.equal(problem.poisons, problem.x[:POISONS])
    assert problem.target.shape == (1, 1, 8, 8)
    assert len({x.numpy().tobytes() for x in problem.x}) == 12


def test_the_seed_draws_the_rows_and_nothing_else():
    one, again, other = (picture_problem(seed) for seed in (1, 1, 2))
    assert torch.equal(one.x, again.x)
    assert not torch.equal(one.x, other.x)
    assert torch.equal(one.target, other.target)


def test_size_rows_and_precision_may_be_others():
    problem = picture_problem(0, size=10, rows=6, dtype=torch.float32)
    assert problem.x.shape == (6, 1, 10, 10)
    assert problem.x.dtype == problem.target.dtype == torch.float32


def test_the_margin_is_the_best_other_score_minus_that_of_the_wanted_class():
    problem, net = picture_problem(0, dtype=torch.float32), network("mlp", (1, 8, 8), 10)
    state = init(net, 0)
    z = logits(net, state, problem.target, train=False)[0][0].tolist()
    others = [score for k, score in enumerate(z) if k != WANTED]
    found = problem.margin(net)(state, problem.x)
    assert float(found) == pytest.approx(max(others) - z[WANTED])


def test_every_step_has_the_same_batch_with_the_poisons_in_their_places():
    problem = picture_problem(0)
    batches = batches_of(problem, 3)
    assert batches.x.shape == (3, *problem.x.shape)
    moved = problem.poisons + 1
    rows = batches.rows(moved)
    for k in range(3):
        filled = batches.fill(rows[k], k)
        assert torch.equal(filled, torch.cat([moved, problem.x[POISONS:]]))
        assert torch.equal(batches.y[k], problem.y)


def test_toy_models_differ_from_one_another_and_from_fresh_ones():
    before = torch.get_rng_state()
    module, state = toy_models(BatchNorm2d, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert state.models == 3
    for name, w in state.params.items():
        assert w.dtype == torch.float64
        assert not torch.equal(w[0], w[1]), name
    assert not any(p.requires_grad for p in state.params.values())
    _, again = toy_models(BatchNorm2d, 0)
    _, other = toy_models(BatchNorm2d, 1)
    assert all(torch.equal(w, again.params[k]) for k, w in state.params.items())
    assert not any(torch.equal(w, other.params[k]) for k, w in state.params.items())
    assert not any(isinstance(layer, nn.ReLU | nn.MaxPool2d) for layer in module.modules())
