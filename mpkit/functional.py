"""A model is a value, and what it says of pictures a pure function of it.

`State` holds a model's parameters and batch norm's running statistics; an `nn.Module` says how to
compute with them, and its own weights are not looked at. Everything here is about one model: M of
them are a `State` whose tensors have a leading M, and `vmap` or a loop (`mpkit.device.for_models`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from mpkit.modes import Seeded


class State(NamedTuple):
    """A model: parameters, and batch norm's running statistics, by name. M models: a leading M."""

    params: dict[str, Tensor]
    stats: dict[str, Tensor]

    def map(self, f: Callable[[Tensor], Tensor]) -> State:
        """Every tensor replaced by f of it."""
        return State(*({k: f(v) for k, v in part.items()} for part in self))

    def pick(self, models: int | slice | Tensor) -> State:
        """Of M models one, without a leading M (an int), or several, with it."""
        return self.map(lambda t: t[models])

    @property
    def models(self) -> int:
        """M, of models with a leading M."""
        return len(next(iter(self.params.values())))

    @property
    def finite(self) -> bool:
        """Whether all of it are numbers: not so after a training that diverged."""
        return all(bool(t.isfinite().all()) for part in self for t in part.values())


own = copy.deepcopy  # a module for a thread, or a piece of work, to have to itself: see `logits`


def stack(states: Sequence[State]) -> State:
    """M models as one State with a leading M."""
    return tree_map(lambda *t: torch.stack(t), *states)


def logits(module: nn.Module, state: State, x: Tensor, train: bool = True) -> tuple[Tensor, State]:
    """Logits (B, classes) of pictures x (B, C, H, W), and the state after it.

    Parameters stay; the statistics are those after this batch if `train`, else unchanged. Neither
    `state` nor the module's weights are written to, but its mode and, meanwhile, its places for
    weights are: threads need a module each (`own`). Under vmap all of `state` must be mapped.
    """
    stats = {k: v.clone() for k, v in state.stats.items()}  # the module writes its new ones into it
    if module.training != train:
        module.train(train)
    found = functional_call(module, (state.params, stats), (x,))
    return found, State(state.params, stats)


def init(module: nn.Module, seed: int) -> State:
    """Fresh weights by each layer's own `reset_parameters`, decided by the seed alone: the global
    generator is neither read nor moved. Names in a module's `pretrained` (see `mpkit.finetuning`)
    get those weights. Raises ValueError for a layer with weights and without that method."""
    fresh = own(module).to_empty(device="cpu")
    with Seeded(seed), torch.no_grad():
        for name, layer in fresh.named_modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
            elif [*layer.parameters(recurse=False), *layer.buffers(recurse=False)]:
                what = f"{name} ({type(layer).__name__})" if name else type(layer).__name__
                raise ValueError(f"{what} needs a method reset_parameters() that fills its weights")
    given = getattr(module, "pretrained", {})
    held = (dict(fresh.named_parameters()), dict(fresh.named_buffers()))
    return State(*({k: given.get(k, v).detach() for k, v in part.items()} for part in held))
