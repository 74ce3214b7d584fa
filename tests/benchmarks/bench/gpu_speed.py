"""How fast a device is: mpkit's ways beside its peers', layers beside one another, and ceilings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from bench.clock import in_turns, medians
from bench.contender import Contender
from bench.contenders import begin, ours, peers
from bench.count import forward_operations, meta_gradient_operations
from bench.gpu_checks import off, on, tf32
from bench.problem import make_problem
from torch import Tensor

from mpkit.device import Plan, finish
from mpkit.runs.ceilings import ceilings
from mpkit.tracing import WAYS

QUICK = tuple(way for way in WAYS if way != "compiled")
"""The ways that begin within seconds."""


def tops(device: torch.device) -> dict:
    """What it can do at most: TFLOP/s of products and convolutions, and GB/s of a copy."""
    found = {}
    for what, dtype, fast in (("float32", torch.float32, False), ("TF32", torch.float32, True),
                              ("bfloat16", torch.bfloat16, False)):  # fmt: skip
        with tf32(fast):
            for rate in ceilings(device, dtype, 0.3):
                if rate.operations:
                    found[f"{what} {rate.what}, TFLOP/s"] = rate.operations / 1e12
                else:
                    found[f"{what} {rate.what}, GB/s"] = rate.moved / 1e9
    return found


def side_by_side(
    name: str,
    size: tuple,
    models: int,
    device: torch.device,
    seconds: float = 2,
    ways: tuple = QUICK,
    beside: bool = True,
) -> dict:
    """Milliseconds for a meta-gradient of one model, K = 2, of M side by side: of each of mpkit's
    `ways`, stacked and one after the other, and `beside` them of the peers that are installed. Who
    fails is named, with the error; `off` is how far an answer is from plain autograd's."""
    problem = on(make_problem(name, 2, models, torch.float32, size), device)
    mine = {f"stacked, {way}": (Plan(models), way) for way in ways}
    mine["one by one, traced"] = Plan(1), "traced"
    makers = {who: partial(ours, problem, "adjoint", *how) for who, how in mine.items()}
    makers |= {who: partial(make, problem) for who, make in peers().items() if beside}
    work, answers, found = {}, {}, {"ms": {}, "begins in": {}, "fails": {}}
    for who, make in makers.items():
        try:
            contender = make()
            (answers[who],), (seconds_of,) = (d.values() for d in begin({who: contender}))
            work[who], found["begins in"][who] = finished(contender, device), seconds_of
        except Exception as error:
            found["fails"][who] = f"{type(error).__name__}: {error}".splitlines()[0][:150]
    times = in_turns(work, seconds, 5, limit=10 * seconds)
    found["ms"] = {w: 1000 * medians(t).wall / models for w, t in times.items()}
    if "autograd" in answers:
        found["off"] = {w: off(a, answers["autograd"]) for w, a in answers.items()}
    f = forward_operations(problem.modules[0].cpu(), size[0])
    counted = meta_gradient_operations(f, "adjoint", size[1], size[2], 2, problem.has_stats)
    best = min((w for w in found["ms"] if w in mine), key=found["ms"].get)
    return {"best": best, "TFLOP/s": counted / found["ms"][best] / 1e9} | found


def finished(contender: Contender, device: torch.device) -> Callable[[], object]:
    """The same, and it is done when it returns."""
    return lambda: (contender(), finish(device))


def convolutions(models: int, batch: int, device: torch.device, layers: tuple) -> dict:
    """Milliseconds, forward and backward, of M models' 3 × 3 convolutions: grouped, as `vmap` makes
    them; unfolded and one batched product; and one model after the other. `layers`: channels in and
    out, and pixels a side."""
    found = {}
    for before, after, side in layers:
        x = torch.rand(models, batch, before, side, side, device=device, requires_grad=True)
        w = torch.rand(models, after, before, 3, 3, device=device, requires_grad=True)
        ways = {"grouped": grouped, "unfolded": unfolded, "one by one": one_by_one}
        wanted = one_by_one(x, w).detach()
        wrong = [
            n for n, f in ways.items() if off(f(x, w).detach(), wanted) > 1e-2
        ]  # TF32 may be on

        def both(f, x=x, w=w):
            torch.autograd.grad(f(x, w).sum(), (x, w))
            finish(device)

        work = {n: partial(both, f) for n, f in ways.items()}
        for each in work.values():
            each()
        times = in_turns(work, 0.3)
        place = f"{before} → {after}, {side} × {side}"
        found[place] = {n: 1000 * medians(t).wall for n, t in times.items()}
        if wrong:
            found[place]["wrong"] = wrong
    return found


def grouped(x: Tensor, w: Tensor) -> Tensor:
    """x (M, B, C, H, W), w (M, D, C, 3, 3) → (M, B, D, H, W)."""
    m, b, c, *side = x.shape
    flat = x.transpose(0, 1).reshape(b, m * c, *side)
    found = F.conv2d(flat, w.flatten(0, 1), padding=1, groups=m)
    return found.view(b, m, -1, *side).transpose(0, 1)


def unfolded(x: Tensor, w: Tensor) -> Tensor:
    m, b, _, *side = x.shape
    columns = F.unfold(x.flatten(0, 1), 3, padding=1).unflatten(0, (m, b))  # (M, B, 9C, HW)
    columns = columns.transpose(1, 2).flatten(2)
    found = torch.bmm(w.flatten(2), columns)  # (M, D, B·HW)
    return found.view(m, -1, b, *side).transpose(1, 2)


def one_by_one(x: Tensor, w: Tensor) -> Tensor:
    return torch.stack([F.conv2d(a, b, padding=1) for a, b in zip(x, w, strict=True)])
