"""Chapter 03: any right way is right, and what is told of the networks is so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpkit.course import ch03, check
from mpkit.functional import init, logits, own
from mpkit.layers import BatchNorm2d
from mpkit.networks import network


def test_what_the_notebook_takes_from_here_is_here():
    for name in ch03.__all__:
        assert hasattr(ch03, name)


def test_the_difference_may_be_taken_in_another_way():
    def by_halves(f, x, direction, h):
        ahead, behind = (f(x + s * h * direction) for s in (1, -1))
        return 0.5 * ahead / h - 0.5 * behind / h

    assert check("03.difference", by_halves).right


def test_a_stub_is_open_and_a_tensor_of_one_number_is_a_number():
    assert check("03.difference", lambda f, x, d, h: None).right is None
    wanted = lambda f, x, d, h: ((f(x + h * d) - f(x - h * d)) / (2 * h)).reshape(())  # noqa: E731
    assert check("03.difference", wanted).right


@pytest.mark.parametrize("answer", [(4, 1), [3.2, 1.6], torch.tensor([4.0, 1.0])], ids=repr)
def test_memory_is_taken_as_it_was_measured(answer):
    assert check("03.memory", answer).right


@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet-bn", "resnet20"])
def test_rows_are_coupled_where_the_exercise_says_so(name):
    net = own(network(name, (1, 8, 8), 3))
    state, x = init(net, 0), torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    other = torch.cat([x[:1], x[1:].flip(-1)])
    alone, beside = (logits(net, state, pictures)[0][0] for pictures in (x, other))
    coupled = not torch.allclose(alone, beside, atol=1e-5)
    assert coupled == any(isinstance(m, BatchNorm2d) for m in net.modules())
    solved = check("03.coupled", {"convnet-bn", "resnet20"})
    assert solved.right
    assert coupled == (name in {"convnet-bn", "resnet20"})


@pytest.mark.parametrize("answer", [(1e-4, "wrong"), (0.003, " WRONG "), [-0.02, "wrong"]], ids=str)
def test_what_was_measured_is_wrong_in_any_case(answer):
    assert check("03.trap", answer).right


def test_the_models_with_torchs_own_norm_can_be_made():
    module, state = ch03.toy_models(nn.BatchNorm2d, 0)
    assert state.models == 3
    assert any(isinstance(m, nn.BatchNorm2d) for m in module.modules())
