"""The networks' sizes, batch norm against torch's own, and models as pure functions."""

import threading

import pytest
import torch
from torch import Tensor, nn

from mpkit.functional import BatchNorm2d, State, functional
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
    net, x = network(name, shape, 4), torch.rand(2, 3, *shape, dtype=torch.float64)
    state = net.init([1, 2]).map(Tensor.double)
    stacked, stats = net(state, x)
    assert stacked.shape == (2, 3, 4)
    for m in range(2):
        one, own = net(state.pick(slice(m, m + 1)), x[m : m + 1])
        assert torch.allclose(one[0], stacked[m], atol=1e-9)
        bare, bare_stats = net(state.map(lambda t, m=m: t[m]), x[m])
        assert torch.equal(bare, one[0])
        for k, v in own.items():
            assert torch.allclose(v[0], stats[k][m], atol=1e-9)
            assert torch.equal(v[0], bare_stats[k])
    deep, _ = net(state, x, part="features")
    head = [state.params[f"head.{k}"] for k in ("weight", "bias")]
    assert torch.allclose(deep @ head[0].mT + head[1][:, None], stacked, atol=1e-9)


@pytest.mark.parametrize("fused", [False, True])
def test_batch_norm_equals_torch(fused):
    ours, theirs = BatchNorm2d(4), nn.BatchNorm2d(4)
    ours.fused = fused
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
    x = torch.rand(3, 5, 3, 8, 8)
    for train in (True, False):
        plain, fused = (network("convnet-bn", (3, 8, 8), 4, fused=f) for f in (False, True))
        a, b = plain(plain.init(range(3)), x, train), fused(fused.init(range(3)), x, train)
        assert torch.allclose(a[0], b[0], atol=1e-4)
        for k in a[1]:
            assert torch.allclose(a[1][k], b[1][k], atol=1e-5)


def test_seeds_decide_weights_and_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    net = network("mlp", (1, 8, 8), 3)
    one, two = net.init([5, 6]), net.init([5, 7])
    assert torch.equal(torch.get_rng_state(), before)
    key = "head.weight"
    assert torch.equal(one.params[key][0], two.params[key][0])
    assert not torch.equal(one.params[key][1], two.params[key][1])


def test_threads_do_not_disturb_each_other():
    net, x = network("convnet", (1, 16, 16), 4), torch.rand(1, 8, 1, 16, 16)
    states = [net.init([i]) for i in range(4)]
    expected, wrong = [net(s, x)[0] for s in states], []

    def work(i):
        for _ in range(25):
            if not torch.equal(net(states[i], x)[0], expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong


def test_functional_equals_the_module_and_leaves_it_alone():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))
    apply, state = functional(module)
    x = torch.rand(4, 1, 8, 8)
    logits, after = apply(state, x)
    assert torch.equal(state.stats["1.running_mean"], torch.zeros(2))
    assert torch.allclose(logits, module(x), atol=1e-6)
    assert torch.allclose(after.stats["1.running_mean"], module[1].running_mean)
    assert isinstance(after, State)


@pytest.mark.parametrize("bad", [{"name": "resnet"}, {"evaluation": "sometimes"}])
def test_unknown_names_are_refused(bad):
    with pytest.raises(ValueError, match=r"there are: mlp|'running' or 'batch'"):
        network(**{"name": "mlp", "shape": (1, 8, 8), "classes": 3} | bad)


def test_streams_differ():
    seeds = {stream(0, kind, i) for kind in ("victim", "surrogate") for i in range(500)}
    assert len(seeds) == 1000
