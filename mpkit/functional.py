"""Networks as pure functions of their weights, for one model or for many at once.

A model is a `State`: its parameters and batch norm's running statistics; M models are a State whose
tensors have a leading M. `Network` maps a state and pictures to logits and new statistics, nothing
is changed in place, so training steps can be differentiated, stacked by ``vmap`` and saved.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap


class State(NamedTuple):
    """A model, or M models with a leading M: parameters, and batch norm's running statistics."""

    params: dict[str, Tensor]
    stats: dict[str, Tensor]

    def pick(self, models: slice | Tensor) -> State:
        """The chosen models of a stacked state, still stacked."""
        return self.map(lambda t: t[models])

    def map(self, f: Callable[[Tensor], Tensor]) -> State:
        return State(*({k: f(v) for k, v in part.items()} for part in self))


def stack(states: Sequence[State]) -> State:
    """Stacked states of M₁, M₂, … models as one of ΣMᵢ."""
    pairs = zip(*states, strict=True)  # all parameters, all statistics
    return State(*({k: torch.cat([one[k] for one in part]) for k in part[0]} for part in pairs))


class ChannelsLast(torch.autograd.Function):
    """The identity, that keeps values, gradients and their gradients in one layout."""

    @staticmethod
    def forward(x):
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return ChannelsLast.apply(g)

    @staticmethod
    def vmap(info, in_dims, x):
        return x, in_dims[0]


class Moments(torch.autograd.Function):
    """Mean and variance of each channel; the gradient in one pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        var, mean = torch.var_mean(x, (0, 2, 3), correction=0)  # plain sums round five times worse
        return mean, var

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0], output[0])

    @staticmethod
    def backward(ctx, by_mean, by_var):
        x, mean = ctx.saved_tensors
        share = x.shape[1] / x.numel()
        slope = 2 * share * by_var
        constant = share * by_mean - slope * mean
        return torch.addcmul(constant[:, None, None], x, slope[:, None, None])


class Conv2d(nn.Conv2d):
    """torch's, in the layout of `ChannelsLast`."""

    def forward(self, x):
        return ChannelsLast.apply(super().forward(x))


class MaxPool2d(nn.MaxPool2d):
    """torch's, in the layout of `ChannelsLast`."""

    def forward(self, x):
        return ChannelsLast.apply(super().forward(x))


class BatchNorm2d(nn.Module):
    """Batch normalisation in plain operations, safe under derivatives of derivatives.

    The fused kernel gives silently wrong meta-gradients when `grad` is taken around `vmap`
    (functorch#534); `fused=True` uses it all the same, where only first derivatives are taken: it
    is about twice as fast on CPUs. `evaluation` is by "running" statistics, as real victims do, or
    always by those of the "batch" at hand, as the official code does.
    """

    momentum, epsilon = 0.1, 1e-5

    def __init__(self, channels: int, evaluation: str = "running"):
        super().__init__()
        self.evaluation, self.fused = evaluation, False
        self.weight, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        by_batch = self.training or self.evaluation == "batch"
        if self.fused:
            kept = (
                (self.running_mean, self.running_var)
                if self.training or not by_batch
                else (None, None)
            )
            return F.batch_norm(
                x, *kept, self.weight, self.bias, by_batch, self.momentum, self.epsilon
            )
        if not by_batch:
            return self._normalize(x, self.running_mean, self.running_var)
        mean, var = Moments.apply(x)
        if self.training:
            n = x.numel() // x.shape[1]
            self._remember(mean, var * (n / max(n - 1, 1)))
        return self._normalize(x, mean, var)

    def _normalize(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        scale = self.weight * torch.rsqrt(var + self.epsilon)
        return torch.addcmul((self.bias - mean * scale)[:, None, None], x, scale[:, None, None])

    def _remember(self, mean: Tensor, var: Tensor) -> None:
        # In place, because the caller handed in a clone and reads it back. No lerp_: it has no
        # vmap rule.
        self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean)
        self.running_var.mul_(1 - self.momentum).add_(self.momentum * var)


class _Skeleton:
    """A module without storage that computes with whatever weights it is handed.

    As `torch.func.functional_call`, whose bookkeeping costs a small network a twentieth of its
    meta-gradient; the places of the weights are looked up once here. Not safe from two threads.
    """

    def __init__(self, module: nn.Module):
        self.module, self.training = module, True
        self.places = [
            (held, key, f"{path}.{key}" if path else key, held[key])
            for path, part in module.named_modules()
            for held in (part._parameters, part._buffers)
            for key in held
            if held[key] is not None  # a layer without bias
        ]

    def __call__(self, train: bool, part: str, params: dict, stats: dict, x: Tensor):
        """The output (of the submodule `part`, if named) and the stats after it."""
        if self.training != train:
            self.module.train(train)
            self.training = train
        stats = {k: v.clone() for k, v in stats.items()}  # the module writes its new ones into it
        given = params | stats
        try:
            for held, key, name, _ in self.places:
                held[key] = given[name]
            return self.module.get_submodule(part)(x), stats
        finally:
            for held, key, _, blank in self.places:
                held[key] = blank


class Network:
    """A module as a pure function of its state, for any number of models at once.

    `build` makes the module. Calls are safe from several threads: each running call has a skeleton
    of the module to itself.
    """

    def __init__(self, build: Callable[[], nn.Module], fused: bool = False):
        self.build = build
        with torch.device("meta"):
            self._template = build()
        norms = [m for m in self._template.modules() if isinstance(m, BatchNorm2d)]
        for norm in norms:
            norm.fused = fused
        self.has_stats = any(True for _ in self._template.buffers())
        self.convolutional = any(isinstance(m, nn.Conv2d) for m in self._template.modules())
        self.by_batch = any(m.evaluation == "batch" for m in norms)
        self._idle: list[_Skeleton] = []

    def init(self, seeds: Sequence[int]) -> State:
        """Fresh weights, torch's default initialisation, one model a seed: a stacked State."""
        states = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                module = self.build()
            pairs = (dict(module.named_parameters()), dict(module.named_buffers()))
            states.append(State(*pairs).map(lambda t: t.detach()[None]))
        return stack(states)

    def __call__(self, state: State, x: Tensor, train: bool = True, part: str = ""):
        """M models. x (M, B, C, H, W) → (logits (M, B, classes), stats with a leading M).

        One model's state needs no leading M if x has none either: (B, C, H, W) → (B, classes).
        The stats are those after this batch if `train`, else unchanged. `part="features"` gives the
        penultimate layer (M, B, width) instead of the logits.
        """
        try:
            skeleton = self._idle.pop()
        except IndexError:
            skeleton = _Skeleton(copy.deepcopy(self._template))
        try:
            call = partial(skeleton, train, part)
            if x.dim() == 4:
                # Convolutions on CPUs run up to twice as fast in this layout; vmap knows no layouts
                return call(*state, x.contiguous(memory_format=torch.channels_last))
            if len(x) > 1:
                return vmap(call)(*state, x)
        finally:
            self._idle.append(skeleton)
        out, stats = self(state.map(lambda t: t.squeeze(0)), x.squeeze(0), train, part)
        return out[None], {k: v[None] for k, v in stats.items()}


def functional(module: nn.Module):
    """``apply(state, x) → (logits, state)`` and the state of `module`, for one model.

    What the notebooks write their unrolls with; x (B, C, H, W), `module` itself is never changed.
    """

    def apply(state: State, x: Tensor) -> tuple[Tensor, State]:
        stats = {k: v.clone() for k, v in state.stats.items()}
        logits = functional_call(module, (state.params, stats), (x,))
        return logits, State(state.params, stats)

    parts = (dict(module.named_parameters()), dict(module.named_buffers()))
    return apply, State(*parts).map(lambda t: t.detach().clone())
