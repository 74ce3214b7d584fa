"""Functions run as graphs: the same bits, whatever the shape, the type, the thread."""

from __future__ import annotations

import shutil
import threading
import warnings
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from mpkit import tracing
from mpkit.batches import Batches
from mpkit.functional import init, logits, stack
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import meta_gradient
from mpkit.networks import network
from mpkit.tracing import PATIENCE, Recorder, Traced, traced
from mpkit.training import sgd_step

MANY = (0, None, 0, 0, None, None)


def given(module, models=1, steps=2, dtype=torch.float32, seed=0, shape=(3, 8, 8)):
    """What `meta_gradient` takes, of one model, or of several with a leading M."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.rand(*size, generator=g).to(dtype)  # noqa: E731
    states = stack([init(module, 10 * seed + m) for m in range(models)]).map(lambda t: t.to(dtype))
    y = torch.randint(0, 4, (models, steps, 7), generator=g)
    slot = torch.randint(0, 4, (models, 3), generator=g)  # 3: no poison
    batches, lr = Batches(draw(models, steps, 7, *shape), y, slot), torch.full((models,), 0.1)
    target, wanted = draw(2, *shape), torch.tensor([1, 2])
    if models == 1:
        states, batches, lr = states.pick(0), Batches(*(t[0] for t in batches)), lr[0]
    return states, draw(3, *shape), batches, lr.to(dtype), target, wanted


def function(module, name="auto", *how, aim=None, models=1, way="traced"):
    """`meta_gradient` as crafting makes it, with no graph yet."""
    aim = aim or ("margin", 100.0, "targeted")
    fixed = METAGRADIENTS[name], aim, how or ("mean", "first")
    return Traced(meta_gradient, module, fixed, MANY if models > 1 else None, way)


def bits(a, b) -> bool:
    return all(map(torch.equal, tree_leaves(a), tree_leaves(b)))


def has_graph(f) -> bool:
    return bool(f.forms) and all(form.checked for form in f.forms.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("models", [1, 3])
@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet-bn", "resnet20"])
def test_a_graph_gives_the_bits_of_the_function(name, models, dtype):
    module = network(name, (3, 8, 8), 4)
    f = function(module, models=models)
    for seed in range(PATIENCE + 3):  # before it is noted, while it is, while it is checked, after
        arguments = given(module, models, 1 + (name == "mlp"), dtype, seed)
        assert bits(f(*arguments), f.plain(*arguments))
    assert has_graph(f)


@pytest.mark.parametrize(("average", "live"), [("mean", "first"), ("last", "all")])
@pytest.mark.parametrize("name", METAGRADIENTS)
def test_every_strategy_can_be_traced(name, live, average):
    module = network("convnet-bn", (3, 8, 8), 4, "batch")
    aim = ("cross-entropy", 100.0, "self-concealment")
    f = function(module, name, average, live, aim=aim)
    for seed in range(PATIENCE + 2):
        arguments = given(module, seed=seed)
        found = f(*arguments)
    assert has_graph(f)
    assert bits(found, f.plain(*arguments))


def test_a_graph_is_of_one_shape_and_type():
    module = network("mlp", (3, 8, 8), 4)
    f = function(module)
    for steps, dtype in ((1, torch.float32), (2, torch.float32), (2, torch.float64)):
        for seed in range(PATIENCE + 1):
            arguments = given(module, 1, steps, dtype, seed)
            assert bits(f(*arguments), f.plain(*arguments))
    assert len(f.forms) == 3
    assert has_graph(f)


def test_the_fused_steps_of_victims_are_traced():
    module = network("convnet-bn", (3, 8, 8), 4, fused=True)
    f, state = Traced(sgd_step, module, (), None, "traced"), init(module, 0)
    x, y, lr = torch.rand(9, 3, 8, 8), torch.arange(9) % 4, torch.tensor(0.1)
    for _ in range(PATIENCE + 3):
        expected = f.plain(state, x, y, lr)
        state, loss = f(state, x, y, lr)
        assert bits((state, loss), expected)
    assert has_graph(f)


def test_what_a_graph_gives_may_go_on_into_autograd():
    module = network("mlp", (3, 8, 8), 4)
    f, state = Traced(sgd_step, module, (), None, "traced"), init(module, 0)
    x, y, lr = torch.rand(9, 3, 8, 8), torch.arange(9) % 4, torch.tensor(0.1)
    for _ in range(PATIENCE + 2):
        state, loss = f(state, x, y, lr)
    assert loss.is_inference()
    state = tracing.settled(state)
    slopes = torch.func.grad(lambda p: logits(module, state._replace(params=p), x)[0].sum())
    assert slopes(state.params)["head.bias"].abs().sum() > 0


def test_the_same_function_keeps_its_graphs():
    module = network("mlp", (3, 8, 8), 4)
    assert traced(sgd_step, module) is traced(sgd_step, network("mlp", (3, 8, 8), 4))
    assert traced(sgd_step, module) is not traced(sgd_step, network("mlp", (3, 8, 8), 5))
    own = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 4))
    before = traced(sgd_step, own)
    own[2] = nn.Tanh()
    assert traced(sgd_step, own) is not before


class Odd(nn.Module):
    """A module of somebody's own, that does something a graph cannot hold."""

    def __init__(self, odd):
        super().__init__()
        self.layer, self.odd = nn.Linear(192, 4), odd

    def forward(self, x):
        return self.layer(self.odd(x.flatten(1)))


FAR = torch.tensor(2.0)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (lambda x: x + torch.rand(()), "gives something else each time"),
        (lambda x: x * FAR, "none of the arguments"),
    ],
)
def test_what_cannot_be_traced_runs_plainly_and_says_so_once(odd, why):
    module = Odd(odd)
    f, state = Traced(sgd_step, module, (), None, "traced"), init(module, 0)
    x, y, lr = torch.rand(9, 3, 8, 8), torch.arange(9) % 4, torch.tensor(0.1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(PATIENCE + 4):
            state, loss = f(state, x, y, lr)
    assert [why in str(w.message) for w in said] == [True]
    assert loss.isfinite()
    (form,) = f.forms.values()
    with form.lock:  # another thread is at it: this one does not wait
        assert f(state, x, y, lr)[1].isfinite()


def test_a_graph_that_gives_other_bits_is_not_used():
    calls = []

    def fickle(module, x):
        calls.append(1)
        return x * (2.0 if len(calls) <= PATIENCE else 3.0)

    f = Traced(fickle, nn.Identity(), (), None, "traced")
    x = torch.ones(3)
    with pytest.warns(UserWarning, match="other bits"):
        found = [float(f(x)[0]) for _ in range(PATIENCE + 4)]
    assert found[PATIENCE + 1 :] == [3.0] * 3


def test_plain_and_traced_runs_are_told_apart():
    module = network("mlp", (3, 8, 8), 4)
    f = function(module, way="plain")
    for seed in range(PATIENCE + 3):
        f(*given(module, seed=seed))
    assert not f.forms


def test_threads_trace_and_run_side_by_side():
    """As two labs do: each has functions of its own, and shares some."""
    modules = [network("mlp", (3, 8, 8), 4), network("convnet-bn", (3, 8, 8), 4)]
    shared = [function(m) for m in modules]
    own = [function(m) for m in modules]
    expected = [[function(m).plain(*given(m, seed=s)) for s in range(8)] for m in modules]
    wrong = []

    def work(i: int) -> None:
        torch.set_num_threads(
            1
        )  # or a thread's first operation may use all cores, and sum otherwise
        try:
            for s in range(8):
                for f in (shared[i % 2], own[i % 2] if i < 2 else function(modules[i % 2])):
                    if not bits(f(*given(modules[i % 2], seed=s)), expected[i % 2][s]):
                        wrong.append((i, s))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong
    assert all(map(has_graph, shared))


def test_torch_still_has_the_interpreter_that_graphs_run_in(monkeypatch):
    """TorchScript is deprecated. Where it is gone, graphs run in Python, more slowly."""

    def never(*_):
        raise AssertionError("TorchScript does not understand the graph")

    monkeypatch.setattr(tracing, "GraphModule", never)
    for name in ("mlp", "convnet", "convnet-bn"):
        f = function(network(name, (3, 8, 8), 4))
        for seed in range(PATIENCE + 1):
            f(*given(network(name, (3, 8, 8), 4), seed=seed))
        assert has_graph(f)


def test_without_the_interpreter_graphs_run_in_python(monkeypatch):
    def gone(text):
        raise RuntimeError("no TorchScript")

    monkeypatch.setattr(torch.jit, "CompilationUnit", gone)
    module = network("convnet", (3, 8, 8), 4)
    f = function(module)
    for seed in range(PATIENCE + 3):
        arguments = given(module, seed=seed)
        assert bits(f(*arguments), f.plain(*arguments))
    assert has_graph(f)


def test_compiling_that_fails_says_what_to_do(monkeypatch):
    def no_compiler(*_, **__):
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr("torch._inductor.standalone_compile", no_compiler)
    module = network("mlp", (3, 8, 8), 4)
    with pytest.raises(ValueError, match=r"'compiled' .*no C\+\+ compiler.*Use 'traced'"):
        function(module, way="compiled")(*given(module))


@pytest.mark.parametrize("fails", [False, True])
def test_where_cpp_cannot_call_compiled_kernels_python_does(monkeypatch, fails):
    tried = []

    def standalone(module, given, options, **_):
        tried.append(options["config_patches"]["cpp_wrapper"])
        if tried[-1] and fails:
            raise RuntimeError("no header")
        return module

    monkeypatch.setattr("torch._inductor.standalone_compile", standalone)
    module = network("mlp", (3, 8, 8), 4)
    f, arguments = function(module, way="compiled"), given(module)
    assert bits(f(*arguments), f.plain(*arguments))
    assert tried == ([True, False] if fails else [True])


def test_a_cuda_graph_without_a_gpu_is_refused():
    module = network("mlp", (3, 8, 8), 4)
    with pytest.raises(ValueError, match=r"compute='graphed' .*GPU of NVIDIA.*Use 'traced'"):
        function(module, way="graphed")(*given(module))


def test_what_a_cuda_graph_gave_stays_when_it_runs_again(monkeypatch):
    """It writes into the same memory each time, which is imitated here."""

    def graphed(f, mine):
        out = f(*mine)

        def run(*given):
            for place, tensor in zip(mine, given, strict=True):
                place.copy_(tensor)
            for place, tensor in zip(out, f(*mine), strict=True):
                place.copy_(tensor)
            return out

        return run

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", graphed)
    monkeypatch.setattr(tracing, "on_gpu", lambda leaves: True)
    module = network("convnet", (3, 8, 8), 4)
    f = function(module, way="graphed")
    all_given = [given(module, seed=seed) for seed in range(PATIENCE + 3)]
    found = [f(*each) for each in all_given]
    assert has_graph(f)
    assert all(bits(a, f.plain(*each)) for a, each in zip(found, all_given, strict=True))


@pytest.mark.slow
def test_compiled_equals_plain_but_for_rounding(monkeypatch):
    config = pytest.importorskip("torch._inductor.config")
    monkeypatch.setattr(config, "compile_threads", 1)  # or processes begin that load torch anew
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 4))
    f, arguments = function(module, way="compiled"), given(module, steps=1, dtype=torch.float64)
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler")
    found = f(*arguments)
    for a, b in zip(tree_leaves(found), tree_leaves(f.plain(*arguments)), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)
    assert isinstance(found.gradient, Tensor)


def test_noting_holds_no_tensor_that_nothing_needs_any_more():
    x = torch.ones(3)
    made = []
    with Recorder([x]) as recorder:
        y = x
        for _ in range(4):
            y = y + 1
            made.append(weakref.ref(y))
    assert [ref() is None for ref in made] == [True, True, True, False]
    recorder.end([y])
    assert torch.equal(recorder.scripted()([x])[0], x + 4)
