"""The networks' sizes, batch norm against torch's own, and models as pure functions."""

import threading
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from mpkit.finetuning import features
from mpkit.functional import State, init, logits, own, stack
from mpkit.layers import BatchNorm2d
from mpkit.networks import NETWORKS, network
from mpkit.training import stream

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("name", "parameters", "tolerance"),
    [
        ("convnet", 70e3, 0.1),
        ("convnet-bn", 70e3, 0.1),
        ("resnet20", 0.27e6, 0.02),
        ("resnet18", 11.17e6, 0.01),
        ("vgg13", 9.4e6, 0.01),
    ],
)
def test_parameter_counts_on_cifar(name, parameters, tolerance):
    with torch.device("meta"):
        found = sum(p.numel() for p in NETWORKS[name]((3, 32, 32), 10).parameters())
    assert abs(found - parameters) <= tolerance * parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 16, 24)])
def test_any_size_and_channels_and_stacked_equals_single(name, shape):
    if name in ("resnet18", "vgg13") and shape != (1, 8, 8):
        pytest.skip("large: one shape is enough")
    net, x = own(network(name, shape, 4)), torch.rand(2, 3, *shape, dtype=torch.float64)
    state = stack([init(net, 1), init(net, 2)]).map(Tensor.double)
    stacked, after = vmap(partial(logits, net))(state, x)
    assert stacked.shape == (2, 3, 4)
    for m in range(2):
        one, alone = logits(net, state.pick(m), x[m])
        assert torch.allclose(one, stacked[m], atol=1e-9)
        for k, v in alone.stats.items():
            assert torch.allclose(v, after.stats[k][m], atol=1e-9)
        z, _ = logits(net, state.pick(m), x[m], train=False)
        deep = features(net, state.pick(m), x[m])
        head = [state.params[f"head.{k}"][m] for k in ("weight", "bias")]
        assert torch.allclose(deep @ head[0].T + head[1], z, atol=1e-9)


@pytest.mark.parametrize("fused", [False, True])
def test_batch_norm_equals_torch(fused):
    ours, theirs = BatchNorm2d(4, fused=fused), nn.BatchNorm2d(4)
    for step in range(5):
        x = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(step)) * 3 + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = ours(a), theirs(b)
        (y**3).sum().backward()
        (z**3).sum().backward()
        assert torch.allclose(y, z, atol=1e-5)
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-3)
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(ours.running_var, theirs.running_var, rtol=1e-5)


def test_fused_victims_equal_plain_ones():
    x = torch.rand(5, 3, 8, 8)
    for train in (True, False):
        nets = [own(network("convnet-bn", (3, 8, 8), 4, fused=f)) for f in (False, True)]
        a, b = (logits(net, init(net, 3), x, train) for net in nets)
        assert torch.allclose(a[0], b[0], atol=1e-4)
        for k in a[1].stats:
            assert torch.allclose(a[1].stats[k], b[1].stats[k], atol=1e-5)


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


@pytest.mark.parametrize("bad", [{"name": "resnet"}, {"evaluation": "sometimes"}])
def test_unknown_names_are_refused(bad):
    with pytest.raises(ValueError, match=r"there are: mlp|'running' or 'batch'"):
        network(**{"name": "mlp", "shape": (1, 8, 8), "classes": 3} | bad)


def test_streams_differ():
    seeds = {stream(0, kind, i) for kind in ("victim", "surrogate") for i in range(500)}
    assert len(seeds) == 1000
