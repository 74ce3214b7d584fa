"""The pieces that an attack is made of, on made-up pictures: to be counted, or tried for seconds.

A piece is what one model does at a time: a meta-gradient, a surrogate's step, a victim's step; with
the attack's own network, batch and K. What is timed does not depend on the numbers in tensors.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from mpkit.batches import Batches, depths
from mpkit.data import load_dataset
from mpkit.device import Plan, finish
from mpkit.functional import State, init
from mpkit.metagradient import METAGRADIENTS, meta_gradient
from mpkit.runs.attack import Attack
from mpkit.runs.counting import Counted, counted
from mpkit.settings import SPREAD
from mpkit.streams import batches_of
from mpkit.tracing import PATIENCE, traced
from mpkit.training import sgd_step, victim_step

META, SURROGATE, VICTIM = "meta-gradient", "surrogate step", "victim step"
MADE_UP = torch.device("meta")


class Sizes(NamedTuple):
    """How many pictures there are to `train` and to `test` on; their shape (C, H, W), classes."""

    train: int
    test: int
    shape: tuple[int, int, int]
    classes: int


CIFAR10 = Sizes(50_000, 10_000, (3, 32, 32), 10)


def sizes_of(attack: Attack, progress: bool = False) -> Sizes:
    """Of an attack's data, which are loaded, but for CIFAR-10, which need not be there. Raises
    DataError."""
    names = ("n_train", "n_test", "max_train", "max_test", "classes")
    names = (*names, "size", "noise", "difficulty")
    given = {name: getattr(attack, name) for name in names}
    if attack.data != "cifar10" or attack.classes:
        train, test = load_dataset(attack.data, **given, progress=progress)
        return Sizes(len(train), len(test), train.shape, len(train.classes))
    train, test = (
        given[f"n_{k}"] or min(given[f"max_{k}"] or most, most)
        for k, most in (("train", CIFAR10.train), ("test", CIFAR10.test))
    )
    return CIFAR10._replace(train=train, test=test)


def parts_of(attack: Attack, images: int) -> int:
    """Into how many parts a surrogate's epoch falls that need not wait for one another: its
    batches, but for those of a last layer, which are too small to be worth a thread's while."""
    apart = attack.settings.compute in SPREAD and attack.fine_tune != "last"
    return batches_of(images, attack.settings.recipe.batch) if apart else 1


_counts: dict[tuple, Counted] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """``f(module, *fixed, *given)`` for one model; `given` are tensors on "meta", and of them
    `mapped` says which are each model's own. `compute` is one of `WAYS`."""

    f: Callable
    module: nn.Module
    fixed: tuple
    given: tuple
    mapped: tuple
    compute: str = "traced"

    @functools.cached_property
    def counted(self) -> Counted:
        """What one call asks of a machine. Once for each shape."""
        looks = tuple((t.shape, t.dtype) for t in tree_leaves(self.given))
        key = self.f, self.module, self.fixed, looks
        if key not in _counts:
            f = functools.partial(self.f, self.module, *self.fixed)
            _counts[key] = counted(f, *self.given)
        return _counts[key]

    @property
    def state_bytes(self) -> float:
        """Of one model's weights and statistics."""
        return float(sum(t.nbytes for part in self.given[0] for t in part.values()))

    def on(self, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple:
        """`given` with numbers in it: fresh weights, random pictures, whatever labels."""
        noise = torch.Generator().manual_seed(0)

        def filled(t: Tensor) -> Tensor:
            if not t.is_floating_point():
                return torch.randint(0, 2, t.shape, generator=noise).to(device)
            return torch.rand(t.shape, generator=noise).to(device, dtype)

        state = init(self.module, 0).map(
            lambda t: t.to(device, dtype) if t.is_floating_point() else t.to(device)
        )
        return state, *tree_map(filled, self.given[1:])


def pieces(attack: Attack, sizes: Sizes, batch: int | None = None) -> dict[str, Piece]:
    """The pieces of an attack by MetaPoison, by name; without a meta-gradient where nothing is
    crafted. `batch`: another one than the attack's, for a trial."""
    s, n = attack.settings, sizes.train
    mine, theirs = attack.networks(sizes.shape, sizes.classes)
    usual, own = s.recipe, attack.victim_recipe
    found = {}
    if s.method == "metapoison":
        poisons = max(1, round(attack.budget * n))
        b = min(batch or usual.batch, n)
        scenario = SimpleNamespace(train=range(n), bases=range(poisons))
        rows, _ = depths(scenario, b)
        pictures = functools.partial(_pictures, mine, sizes.shape)
        batches = Batches(
            pictures(s.unroll_steps, b), _labels(s.unroll_steps, b), _labels(max(1, rows))
        )
        targets = len(attack.target_index or (0,))
        given = (pictures(poisons), batches, _rate(), pictures(targets), _labels(targets))
        aim, how = (s.loss, s.kappa, attack.goal), (s.average, s.poisoned_steps)
        fixed = METAGRADIENTS[s.metagradient], aim, how
        mapped = (0, None, 0, 0, None, None)
        state = _state(mine)
        found[META] = Piece(meta_gradient, mine, fixed, (state, *given), mapped, s.compute)
    for name, module, recipe in ((SURROGATE, mine, usual), (VICTIM, theirs, own)):
        b = min(batch or recipe.batch, n)
        given = _pictures(module, sizes.shape, b), _labels(b), _rate()
        state = _state(module)
        if name == SURROGATE:
            found[name] = Piece(sgd_step, module, (), (state, *given), (0, 0, 0, 0), s.compute)
            continue
        fixed = recipe.weight_decay, recipe.momentum
        velocity = dict(state.params) if recipe.momentum else {}
        found[name] = Piece(
            victim_step, module, fixed, (state, velocity, *given), (0, 0, 0, 0, None)
        )
    return found


def _pictures(module: nn.Module, shape: tuple[int, int, int], *count: int) -> Tensor:
    """Pictures as a network takes them in: their features, where only its last layer trains."""
    shape = (module.frozen.width, 1, 1) if hasattr(module, "frozen") else shape
    return torch.empty(*count, *shape, device=MADE_UP)


def _labels(*count: int) -> Tensor:
    return torch.empty(*count, dtype=torch.int64, device=MADE_UP)


def _rate() -> Tensor:
    return torch.empty((), device=MADE_UP)


def _state(module: nn.Module) -> State:
    parts = dict(module.named_parameters()), dict(module.named_buffers())
    return State(*({k: torch.empty_like(v, device=MADE_UP) for k, v in p.items()} for p in parts))


def timed(
    piece: Piece,
    device: torch.device,
    plan: Plan,
    models: int,
    seconds: float = 1.0,
    *,
    dtype: torch.dtype = torch.float32,
) -> float:
    """Seconds that one model's piece takes where so many `models` do theirs by a plan: the median
    of as many rounds as go into `seconds`, at least two, once the piece is traced. On a CPU
    processor time, shared by the plan's workers: what else the machine does hardly counts in."""
    given = piece.on(device, dtype)
    one = traced(piece.f, piece.module, *piece.fixed, way=piece.compute)
    many = traced(piece.f, piece.module, *piece.fixed, in_dims=piece.mapped, way=piece.compute)

    def stacked(count: int) -> tuple:
        pairs = zip(given, piece.mapped, strict=True)
        widen = lambda t: t[None].expand(count, *t.shape).contiguous()  # noqa: E731
        return tuple(t if dim is None else tree_map(widen, t) for t, dim in pairs)

    def work(chunk: slice) -> None:
        count = chunk.stop - chunk.start
        one(*given) if count == 1 else many(*stacked(count))

    chunk = slice(0, min(plan.chunk, models))
    plan = dataclasses.replace(plan, workers=min(plan.workers, -(-models // plan.chunk)))
    for _ in range(PATIENCE + 2):
        work(chunk)
    return clocked(lambda: plan.map(work, models), device, plan.workers, seconds) / models


def clocked(
    work: Callable[[], object], device: torch.device, workers: int, seconds: float, least: int = 2
) -> float:
    """Seconds that ``work()`` takes on so many busy `workers`: the median, as `timed` has it."""
    cpu, times = device.type == "cpu", []
    clock = time.process_time if cpu else time.perf_counter
    while len(times) < least or sum(times) < seconds:
        finish(device)
        began = clock()
        work()
        finish(device)
        times.append((clock() - began) / (workers if cpu else 1))
    return median(times)
