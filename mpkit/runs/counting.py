"""What a piece of work asks of a machine: operations, bytes and memory, without doing it.

On torch's device "meta" tensors have a shape and no numbers, so the largest network is counted in
a moment, in every operation that runs below ``torch.func``.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mpkit.modes import Mode


@dataclasses.dataclass(frozen=True)
class Counted:
    """`operations`: of matrix products and convolutions, two for each multiplication with a weight.
    `moved`: bytes, where every operation reads what it is given and writes what it gives.
    `peak`: the most bytes that are held at once beside what was there before."""

    operations: float
    moved: float
    peak: float


class _Held(Mode):
    """Sums up what operations are and move, and follows what they hold. (FlopCounterMode follows
    modules as well, by hooks that know nothing of ``torch.func``.)"""

    def __init__(self):
        super().__init__()
        self.operations = self.moved = self.now = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out, formula = func(*args, **kwargs), flop_registry.get(func._overloadpacket)
        self.operations += formula(*args, **kwargs, out_val=out) if formula else 0
        returns = func._schema.returns
        if any(r.alias_info is None or r.alias_info.is_write for r in returns):  # no view
            touched = tree_leaves((args, kwargs, out))
            self.moved += sum(_bytes(t) for t in touched if isinstance(t, torch.Tensor))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor.untyped_storage())
        return out

    def given(self, tree: object) -> None:
        """What was there before, and does not count."""
        for tensor in tree_leaves(tree):
            self.known.add(tensor.untyped_storage()._cdata)

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


class _Constants(TorchFunctionMode):
    """Numbers become tensors on "meta", which they can't at once inside ``torch.func.grad``."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func is torch.tensor and device == torch.device("meta"):
            return func(*args, **kwargs | {"device": "cpu"}).to(device)
        return func(*args, **kwargs)


def _bytes(t: torch.Tensor) -> int:
    return t.numel() * t.element_size()


def counted(work: Callable, *given: object) -> Counted:
    """What ``work(*given)`` asks; `given` are trees of tensors, on any device."""
    held = _Held()
    held.given(given)
    with _Constants(), held:
        found = work(*given)
    del found
    return Counted(float(held.operations), float(held.moved), float(held.peak))
