"""A pure function of tensors, written down once for each shape, and then run as the list it is.

The engine's functions are written with ``torch.func``, one model at a time, as chapter 03 writes
them. Walking through Python and three levels of transforms for each of their few hundred operations
costs more than a small network's arithmetic, and keeps other threads waiting. So their operations
are noted, in order, once they have been called a few times; what nothing depends on is left out;
and TorchScript's interpreter runs the rest, without Python and without autograd.

A graph does the very same operations, so it gives the very same bits, which the next call checks on
other numbers. Compiling does change bits, so that is a setting.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.fx import Graph, GraphModule
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten
from torch.utils.weak import WeakIdKeyDictionary

from mpkit.functional import own
from mpkit.modes import Mode

WAYS = ("traced", "plain", "compiled", "graphed")
"""How a function may run: see `Settings.compute`."""

PATIENCE = 2
"""The call at which a form's operations are noted: writing them down costs about as much as some
plain calls, and what is called less often is not worth it."""


def traced(
    f: Callable, module: nn.Module, *fixed, in_dims: tuple | None = None, way: str = "traced"
) -> Traced:
    """``f(module, *fixed, *given)`` as a function of trees of tensors `given`.

    in_dims: None for one model, else what ``vmap`` maps over, one entry for each of `given`. `way`
    is one of `WAYS`. The same arguments give the same object, with the graphs it has: a second run
    traces nothing.
    """
    return _traced(f, module, repr(module), fixed, in_dims, way)  # repr: it may have been changed


@functools.lru_cache(maxsize=64)
def _traced(f, module, look: str, fixed: tuple, in_dims, way: str) -> Traced:
    return Traced(f, module, fixed, in_dims, way)


@dataclasses.dataclass
class Form:
    """What is known of calls with tensors of one shape, layout, type and place."""

    calls: int = 0
    graph: Callable[[list[Tensor]], list[Tensor]] | None = None
    out: TreeSpec | None = None
    checked: bool = False
    failed: bool = False
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def run(self, leaves: list[Tensor]):
        with torch.inference_mode():
            return tree_unflatten(self.graph(leaves), self.out)


class Traced:
    """See `traced`. Calls are safe from several threads."""

    def __init__(self, f: Callable, module: nn.Module, fixed: tuple, in_dims, way: str):
        self.f, self.module, self.fixed = f, own(module), fixed
        self.in_dims, self.way = in_dims, way
        self.forms: dict[object, Form] = {}
        self._mine = threading.local()

    def __call__(self, *given):
        if self.way == "plain":
            return self.plain(*given)
        leaves, spec = tree_flatten(given)
        look = spec, *((t.shape, t.stride(), t.dtype, t.device) for t in leaves)
        form = self.forms.get(look) or self.forms.setdefault(look, Form())
        if form.checked:
            return form.run(leaves)
        if form.failed:  # for good: nobody need wait for anybody
            return self.plain(*given)
        with form.lock:  # forward mode, which a strategy may use, is not for two threads at once
            return self._prepare(form, leaves, given)

    def plain(self, *given):
        """The function itself, in this thread's own copy of the module."""
        return self._function()(*settled(given))

    def _function(self) -> Callable:
        if not hasattr(self._mine, "f"):
            one = functools.partial(self.f, own(self.module), *self.fixed)
            self._mine.f = one if self.in_dims is None else vmap(one, self.in_dims)
        return self._mine.f

    def _prepare(self, form: Form, leaves: list[Tensor], given: tuple):
        """The first calls of a form: run plainly, noted, checked."""
        form.calls += 1
        if form.checked:  # by another thread, which had the lock
            return form.run(leaves)
        if form.failed or (form.calls < PATIENCE and self.way == "traced"):
            return self.plain(*given)
        if form.graph is None:
            self._note(form, given)
        if self.way == "compiled":
            form.checked = True
            return form.run(leaves)
        plain = self.plain(*given)
        if form.calls > PATIENCE and form.graph:
            form.checked = same(form.run(leaves), plain)
            if not form.checked:
                self._fail(form, "its graph gives other bits")
        return plain

    def _note(self, form: Form, given: tuple) -> None:
        """Make the graph."""
        given, f = settled(given), self._function()
        leaves = tree_flatten(given)[0]
        try:
            with Recorder(leaves) as recorder:
                results, form.out = tree_flatten(f(*given))
            recorder.end(results)
            if self.way == "compiled":
                form.graph = recorder.compiled(leaves)
            else:
                form.graph = recorder.scripted()
            if self.way == "graphed":
                form.graph = replayed(form.graph, leaves)
        except Untraceable as error:
            self._fail(form, str(error))

    def _fail(self, form: Form, why: str) -> None:
        """Say once that the plain function goes on alone. Raises ValueError where another way
        was asked for."""
        if self.way != "traced":
            raise ValueError(f"compute={self.way!r} is not to be had here: {why}. Use 'traced'")
        form.failed, name = True, getattr(self.f, "__name__", "a function")
        warnings.warn(f"{name} cannot be traced and runs more slowly: {why}", stacklevel=2)


class Untraceable(RuntimeError):
    """A function whose operations cannot be written down; the message says which one."""


class Recorder(Mode):
    """Notes the operations that run inside it, below vmap and grad, as a graph.

    `inputs` are what the graph is a function of. Raises `Untraceable` for operations that are
    random, or look at a tensor's numbers, and for tensors that come from elsewhere.
    """

    def __init__(self, inputs: list[Tensor]):
        super().__init__()
        self.graph, self.constants = Graph(), []
        # By identity and weak: to hold every tensor there was took ten times a run's memory.
        self.seen = WeakIdKeyDictionary()
        for i, tensor in enumerate(inputs):
            self.seen[tensor] = self.graph.placeholder(f"given_{i}")
        self.first = next(iter(self.graph.nodes))

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        unsteady = {torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output}
        if unsteady & set(op.tags):
            raise Untraceable(f"{op} gives something else each time")
        kwargs = kwargs or {}
        found = op(*args, **kwargs)
        # torch.tensor(numbers), and what is made of it alone: moved to a device, say. A GPU would
        # be waited for if that were done at every call.
        given = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        known = {id(t) for t in self.constants}
        made = op is torch.ops.aten.lift_fresh.default
        if made or (given and all(id(t) in known for t in given) and isinstance(found, Tensor)):
            with self.graph.inserting_before(self.first):
                node = self.graph.placeholder(f"constant_{len(self.constants)}")
            self.constants.append(found)
            self.seen[found] = node
            return found
        node = self.graph.call_function(op, *self._nodes((args, kwargs), op))
        many = isinstance(found, tuple | list)
        for i, tensor in enumerate(found if many else [found]):
            if isinstance(tensor, Tensor):
                part = self.graph.call_function(operator.getitem, (node, i)) if many else node
                self.seen[tensor] = part
        return found

    def _nodes(self, given, op):
        def node(t):
            if not isinstance(t, Tensor):
                return t
            if t not in self.seen:
                raise Untraceable(f"{op} uses a tensor that is none of the arguments")
            return self.seen[t]

        return tree_map(node, given)

    def end(self, results: list[Tensor]) -> None:
        """The graph gives `results`; what they do not depend on is left out."""
        self.graph.output(self._nodes(results, "the result"))
        self.graph.eliminate_dead_code()
        self.seen.clear()

    def scripted(self) -> Callable[[list[Tensor]], list[Tensor]]:
        """As a function of the inputs, run by TorchScript's interpreter, which does not hold
        Python's lock. Where it does not know how to say something, Python goes on reading it out.
        """
        text = self.graph.python_code("self").src
        for python, script in _SPELLING.items():
            text = re.sub(python, script, text, flags=re.MULTILINE)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that TorchScript may go one day
                f = torch.jit.CompilationUnit(text).forward
        except RuntimeError:
            f = GraphModule(nn.Module(), self.graph).forward

        def run(leaves: list[Tensor]) -> list[Tensor]:
            with torch.jit.optimized_execution(False):  # optimized, it sums in another order
                return f(*self.constants, *leaves)

        return run

    def compiled(self, leaves: list[Tensor]) -> Callable[[list[Tensor]], list[Tensor]]:
        """The same operations fused by torch's compiler, which is handed the graph itself: what
        torch.compile would ask at each call is known here. Raises Untraceable where it fails."""
        given = [*self.constants, *leaves]
        # C++ calls the kernels where it can: by Python that takes as long as some of them.
        for by_cpp in (True, False) if all(t.is_cpu for t in given) else (False,):
            try:
                f = self._fused(given, by_cpp)
                return lambda leaves: f(*self.constants, *leaves)
            except ImportError as error:
                raise Untraceable("that takes torch 2.8 or later") from error
            except Exception as error:
                failed = error
        raise Untraceable(f"{type(failed).__name__}: {str(failed)[:300]}") from failed

    def _fused(self, given: list[Tensor], by_cpp: bool) -> Callable:
        from torch._inductor import standalone_compile  # seconds to import: only here

        options = {"config_patches": {"cpp_wrapper": by_cpp}}
        shapes = {"dynamic_shapes": "from_example_inputs"}
        module = GraphModule(nn.Module(), own(self.graph))
        with _COMPILING:
            f = standalone_compile(module, given, options=options, **shapes)
            f(*given)
        return f


_COMPILING = threading.Lock()
"""The compiler has settings of the whole process, and no lock of its own."""


def replayed(f: Callable, leaves: list[Tensor]) -> Callable[[list[Tensor]], list[Tensor]]:
    """`f` as a CUDA graph: the GPU is told of all its operations at once, and no longer waits for
    each to be called. Raises Untraceable where there is no such GPU, or it cannot be done."""
    if not on_gpu(leaves):
        raise Untraceable("a CUDA graph needs a GPU of NVIDIA")
    mine = tuple(t.detach().clone() for t in leaves)  # which every call writes into
    try:
        g = torch.cuda.make_graphed_callables(lambda *given: tuple(f(list(given))), mine)
    except RuntimeError as error:
        raise Untraceable(f"{type(error).__name__}: {str(error)[:300]}") from error
    return lambda given: [t.clone() for t in g(*given)]  # what it gives, the next call overwrites


def on_gpu(leaves: list[Tensor]) -> bool:
    """Whether all of them are on a GPU of NVIDIA."""
    return all(t.device.type == "cuda" for t in leaves)


_SPELLING = {
    r"\(self, ": "(",
    r";  .*= None$": "",  # TorchScript frees what is not used again by itself
    r"torch\.ops\.(\w+)\.(\w+)\.\w+\(": r"torch.ops.\1.\2(",  # and finds the overload
    r"\binf\b": 'float("inf")',
    r"\bnan\b": 'float("nan")',
    r"\bdevice\(type=": "torch.device(",
}
"""How Python's words for a graph become TorchScript's."""


def settled(tree):
    """A tree of tensors that may enter autograd: what `inference_mode` made is copied."""
    return tree_map(lambda t: t.clone() if t.is_inference() else t, tree)


def same(a, b) -> bool:
    """Whether two trees of tensors hold the same numbers; NaN equals NaN."""
    pairs = zip(tree_flatten(a)[0], tree_flatten(b)[0], strict=True)
    return all(torch.allclose(x, y, 0, 0, equal_nan=True) for x, y in pairs)
