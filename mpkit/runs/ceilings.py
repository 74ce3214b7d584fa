"""What a machine can do at most, and what an attack's pieces make of it."""

from __future__ import annotations

import dataclasses
import functools

import torch
import torch.nn.functional as F

from mpkit.device import Plan, cores
from mpkit.runs.trial import Piece, clocked, timed

DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16", "float16")}
PRODUCT, CONVOLUTION, COPY = "matrix product", "convolution", "copy"


@dataclasses.dataclass(frozen=True)
class Rate:
    """Work that took `seconds` on all of the device: operations and bytes a second; None where it
    has none to speak of."""

    what: str
    seconds: float
    operations: float | None
    moved: float | None


def ceilings(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> list[Rate]:
    """A large matrix product, a copy that fits in no cache, and a convolution as those of ConvNet;
    on a CPU one on every core at the same time, as a plan has it."""
    cpu = device.type == "cpu"
    plan = Plan(1, cores()) if cpu else Plan()
    side, count, pictures = (1024, 1 << 25, 125) if cpu else (8192, 1 << 30, 125 * 24)
    size = torch.empty((), dtype=dtype).element_size()
    a, b = torch.rand(2, side, side, device=device).to(dtype)
    x = torch.rand(pictures, 64, 16, 16, device=device).to(dtype)
    weight = torch.rand(64, 64, 3, 3, device=device).to(dtype)
    copies = [
        torch.zeros(2, count // size, dtype=dtype, device=device) for _ in range(plan.workers)
    ]

    def copy(one: slice) -> None:
        there, here = copies[one.start]
        there.copy_(here)

    product, convolved = 2.0 * side**3, 2.0 * weight.numel() * 256 * pictures
    rows = (
        (PRODUCT, lambda _: a @ b, product, None),
        (CONVOLUTION, lambda _: F.conv2d(x, weight, padding=1), convolved, None),
        (COPY, copy, None, 2.0 * count),
    )
    with torch.no_grad():
        found = []
        for what, work, operations, moved in rows:
            all_at_once = functools.partial(plan.map, work, plan.workers)
            all_at_once()
            took = clocked(all_at_once, device, plan.workers, seconds, least=3)
            each = took / plan.workers
            rates = (None if n is None else n / each for n in (operations, moved))
            found.append(Rate(what, each, *rates))
    return found


def achieved(
    name: str, piece: Piece, device: torch.device, plan: Plan, models: int, **how: object
) -> Rate:
    """The rates of a piece, of so many models side by side; `how` as for `timed`."""
    took = timed(piece, device, plan, models, **how)
    size = how.get("dtype", torch.float32).itemsize / 4  # pieces are counted in float32
    asks = piece.counted
    return Rate(name, took, asks.operations / took, size * asks.moved / took)
