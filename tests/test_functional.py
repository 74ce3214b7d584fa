"""Models as pure functions."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from mpkit.functional import State, init, logits, own, stack
from mpkit.layers import BatchNorm2d
from mpkit.networks import NETWORKS, network


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_those_that_torch_itself_would_draw(name):
    net = network(name, (3, 8, 8), 4)
    torch.manual_seed(5)
    built = NETWORKS[name]((3, 8, 8), 4)
    state = init(net, 5)
    for part, theirs in zip(state, (built.named_parameters(), built.named_buffers()), strict=True):
        assert all(torch.equal(part[k], v) for k, v in theirs)
    assert all(p.device.type == "meta" for p in net.parameters())


def test_seeds_decide_weights_and_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    net = network("mlp", (1, 8, 8), 3)
    one, two, other = (init(net, s).params["head.weight"] for s in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_threads_do_not_disturb_each_other():
    net, x = network("convnet", (1, 16, 16), 4), torch.rand(8, 1, 16, 16)
    expected, wrong = [logits(own(net), init(net, i), x)[0] for i in range(4)], []

    def work(i):
        torch.set_num_threads(1)
        mine = own(net)
        for _ in range(25):
            torch.rand(3)  # somebody else's use of the global generator
            if not torch.equal(logits(mine, init(net, i), x)[0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_logits_equal_the_module_and_leave_it_and_the_state_alone():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))
    held = (dict(module.named_parameters()), dict(module.named_buffers()))
    state, x = State(*held).map(lambda t: t.detach().clone()), torch.rand(4, 1, 8, 8)
    z, after = logits(module, state, x)
    assert torch.equal(state.stats["1.running_mean"], torch.zeros(2))
    assert torch.equal(module[1].running_mean, torch.zeros(2))
    assert torch.allclose(z, module(x), atol=1e-6)
    assert torch.allclose(after.stats["1.running_mean"], module[1].running_mean)
    assert after.params is state.params
    again, same = logits(module, after, x, train=False)
    assert torch.allclose(again, module.eval()(x), atol=1e-6)
    assert all(torch.equal(same.stats[k], v) for k, v in after.stats.items())


def test_a_layer_that_does_not_know_how_to_begin_is_named():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.by = nn.Parameter(torch.ones(1))

    with pytest.raises(ValueError, match=r"1 \(Scale\) needs a method reset_parameters"):
        init(nn.Sequential(nn.Linear(2, 2), Scale()), 0)


def test_a_state_is_finite_if_all_of_it_is():
    whole = State({"w": torch.zeros(2)}, {"mean": torch.zeros(2)})
    assert whole.finite
    for bad in (float("nan"), float("inf")):
        spoilt = torch.tensor([0.0, bad])
        assert not State({"w": spoilt}, whole.stats).finite
        assert not State(whole.params, {"mean": spoilt}).finite


def test_models_are_picked_out_of_a_stack():
    parts = [({"w": torch.full((2,), float(i))}, {"n": torch.tensor([i])}) for i in range(3)]
    states = [State(*part) for part in parts]
    together = stack(states)
    assert together.models == 3
    assert together.params["w"].shape == (3, 2)
    for i, one in enumerate(states):
        assert torch.equal(together.pick(i).params["w"], one.params["w"])
    some = together.pick(slice(1, 3))
    assert some.models == 2
    assert some.stats["n"].flatten().tolist() == [1, 2]
    doubled = together.map(lambda t: 2 * t)
    assert torch.equal(doubled.params["w"], 2 * together.params["w"])
