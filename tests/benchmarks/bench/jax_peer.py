"""The same meta-gradient in JAX: one `jit`ted function of a model, called in a loop or `vmap`ped.

The network is read off the customary module (bench/modules.py) layer by layer, so both compute the
same formulas; everything is handed over before the clock starts, as arguments of the function and
in the layout that is asked for. Pools are taken by reshaping: on a CPU that ran a tenth faster than
XLA's own `reduce_window`, and compiled in half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from bench.contender import Contender
from bench.problem import ADVERSARIAL, LR, Problem
from jax import lax
from torch import Tensor, nn

from mpkit.networks import Normalize

AXES = {"plain": "NCHW", "channels last": "NHWC"}


def jax_loop(problem: Problem, layout: str = "plain") -> Contender:
    """The models one after the other."""
    return _contender(problem, layout, stacked=False)


def jax_vmap(problem: Problem, layout: str = "plain") -> Contender:
    """The models stacked."""
    return _contender(problem, layout, stacked=True)


def _contender(problem: Problem, layout: str, stacked: bool) -> Contender:
    with _precision(problem.poisons.dtype):
        shared, own = _handed_over(problem, layout)
        one = partial(meta_gradient, network_of(problem.modules[0], layout), problem.rows)
        if stacked:
            f = jax.jit(lambda shared, own: jax.vmap(one, (None, 0))(shared, own).sum(0))
        else:
            f = jax.jit(one)
            own = [jax.tree.map(lambda a, m=m: a[m], own) for m in range(problem.models)]
        own = jax.block_until_ready(own)

    def run() -> Tensor:
        with _precision(problem.poisons.dtype):
            found = f(shared, own) if stacked else sum(f(shared, each) for each in own)
            pixels = torch.tensor(np.asarray(jax.block_until_ready(found)))
        return pixels if layout == "plain" else pixels.permute(0, 3, 1, 2)

    return Contender(run)


def _precision(dtype: torch.dtype):
    enable = jax if hasattr(jax, "enable_x64") else jax.experimental  # its place before 0.8
    return enable.enable_x64(dtype == torch.float64)


def _handed_over(problem: Problem, layout: str) -> tuple[dict, dict]:
    """What all models share, and what each has of its own (leading M), as JAX's arrays."""

    def pictures(t: Tensor) -> jax.Array:
        return jnp.asarray((t if layout == "plain" else t.movedim(-3, -1)).contiguous().numpy())

    def weight(t: Tensor) -> jax.Array:  # of a convolution: (M, out, in, height, width)
        conv = t.dim() == 5 and layout != "plain"
        return jnp.asarray((t.permute(0, 3, 4, 2, 1) if conv else t).contiguous().numpy())

    params, stats = problem.state.map(weight)
    batches = problem.batches
    shared = {"poisons": pictures(problem.poisons), "target": pictures(problem.target)}
    numbers = {"y": jnp.asarray(batches.y.numpy()), "slot": jnp.asarray(batches.slot.numpy())}
    return shared, {"params": params, "stats": stats, "x": pictures(batches.x)} | numbers


def meta_gradient(network: Callable, rows: int, shared: dict, own: dict) -> jax.Array:
    """Of one model: the gradient of the mean margin after steps 1 … K, pixels in step 1."""

    def unrolled(poisons: jax.Array) -> jax.Array:
        params, stats, total = own["params"], own["stats"], 0
        for k, (x, y) in enumerate(zip(own["x"], own["y"], strict=True)):
            seen = poisons if k == 0 else shared["poisons"]
            pixels = jnp.concatenate([seen[own["slot"]], x[rows:]])
            slopes, stats = jax.grad(training_loss, has_aux=True)(params, stats, pixels, y)
            params = jax.tree.map(lambda w, g: w - LR * g, params, slopes)
            total += margin(network(params, stats, shared["target"], train=False)[0])
        return total / len(own["x"])

    def training_loss(params: dict, stats: dict, x: jax.Array, y: jax.Array):
        logits, stats = network(params, stats, x, train=True)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1)
        return -picked.mean(), stats

    return jax.grad(unrolled)(shared["poisons"])


def margin(logits: jax.Array) -> jax.Array:
    """max_{j≠adv} z_j − z_adv of logits (1, classes)."""
    others = jnp.delete(logits, ADVERSARIAL, axis=-1)
    return others.max(-1)[0] - logits[0, ADVERSARIAL]


# ── layers ──────────────────────────────────────────────────────────────────────────────────────


def network_of(module: nn.Sequential, layout: str) -> Callable:
    """``f(params, stats, x, train)`` → logits and the statistics after x, as `module` computes."""
    parts = {f"features.{name}": part for name, part in module.features.named_children()}
    parts["head"] = module.head

    def f(params: dict, stats: dict, x: jax.Array, train: bool):
        stats = dict(stats)
        for name, part in parts.items():
            held = {**params, **stats}
            held = {k.rpartition(".")[2]: v for k, v in held.items() if k.startswith(name + ".")}
            x, new = LAYERS[type(part).__name__](part, held, x, AXES[layout], train)
            stats |= {f"{name}.{k}": v for k, v in new.items()}
        return x, stats

    return f


def _normalize(part: Normalize, held, x, axes: str, train: bool):
    mean, std = (_along(jnp.asarray(v, x.dtype), axes) for v in (part.mean, part.std))
    return (x - mean) / std, {}


def _convolution(part: nn.Conv2d, held, x, axes: str, train: bool):
    numbers = (axes, "OIHW" if axes == "NCHW" else "HWIO", axes)
    pad = [(p, p) for p in part.padding]
    y = lax.conv_general_dilated(x, held["weight"], part.stride, pad, dimension_numbers=numbers)
    return y + _along(held["bias"], axes), {}


def _pool(part: nn.MaxPool2d, held, x, axes: str, train: bool):
    at, size = axes.index("H"), part.kernel_size
    for axis in (at, at + 1):  # what is left over at the edge is dropped, as torch does
        x = lax.slice_in_dim(x, 0, x.shape[axis] // size * size, axis=axis)
    high, wide = x.shape[at] // size, x.shape[at + 1] // size
    x = x.reshape(*x.shape[:at], high, size, wide, size, *x.shape[at + 2 :])
    return x.max((at + 1, at + 3)), {}


def _batch_norm(part, held, x, axes: str, train: bool):
    mean, var, new = held["running_mean"], held["running_var"], {}
    if train:
        over = tuple(i for i, axis in enumerate(axes) if axis != "C")
        mean, var, n = x.mean(over), x.var(over), x.size // len(mean)
        keep, moved = 1 - part.momentum, part.momentum
        new["running_mean"] = keep * held["running_mean"] + moved * mean
        new["running_var"] = keep * held["running_var"] + moved * var * (n / (n - 1))
    scale = held["weight"] * lax.rsqrt(var + part.epsilon)
    return x * _along(scale, axes) + _along(held["bias"] - mean * scale, axes), new


def _flatten(part: nn.Flatten, held, x, axes: str, train: bool):
    if axes == "NHWC":
        x = x.transpose(0, 3, 1, 2)  # the weights after it are ordered as torch flattens
    return x.reshape(len(x), -1), {}


def _linear(part: nn.Linear, held, x, axes: str, train: bool):
    return x @ held["weight"].T + held["bias"], {}


def _relu(part: nn.ReLU, held, x, axes: str, train: bool):
    return jax.nn.relu(x), {}


def _along(v: jax.Array, axes: str) -> jax.Array:
    """A number for each channel, as it meets pictures."""
    return v if axes == "NHWC" else v[:, None, None]


LAYERS: dict[str, Callable] = {
    "Normalize": _normalize,
    "Conv2d": _convolution,
    "MaxPool2d": _pool,
    "BatchNorm2d": _batch_norm,
    "Flatten": _flatten,
    "Linear": _linear,
    "ReLU": _relu,
}
