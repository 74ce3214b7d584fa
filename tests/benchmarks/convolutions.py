"""Stacked convolutions two ways, with gradients: torch's own under ``vmap`` (a grouped convolution)
against unfolding and one batched matrix product; and one model after the other.

    python tests/benchmarks/convolutions.py --device cpu

Prints milliseconds, the median of the rounds; both ways must give the same numbers first.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

SHAPES = [(3, 32, 32), (32, 64, 16), (64, 128, 8)]  # channels in, channels out, side


def unfolded(x: Tensor, weight: Tensor) -> Tensor:
    """`F.conv2d(x, weight, padding=1)` for 3 × 3 weights, as a matrix product."""
    columns = F.unfold(x, 3, padding=1)
    return (weight.flatten(1) @ columns).unflatten(-1, x.shape[-2:])


def own(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def slope(convolution):
    return grad(lambda x, w: convolution(x, w).square().mean(), argnums=(0, 1))


def looped(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    found = [slope(own)(*each) for each in zip(x, weight, strict=True)]
    return tuple(torch.stack(part) for part in zip(*found, strict=True))


WAYS = {"looped": looped, "grouped": vmap(slope(own)), "unfolded": vmap(slope(unfolded))}


def milliseconds(way, given, device: torch.device, rounds: int) -> float:
    taken = []
    for _ in range(rounds + 1):  # the first warms up
        begin = time.perf_counter()
        way(*given)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    print(f"{args.models} models, batch {args.batch}, n = {args.rounds}")
    for c, d, side in SHAPES:
        made = torch.Generator().manual_seed(c)
        x = torch.randn(args.models, args.batch, c, side, side, generator=made).to(device)
        weight = torch.randn(args.models, d, c, 3, 3, generator=made).to(device) / (9 * c) ** 0.5
        expected = looped(x, weight)
        for way in WAYS.values():
            torch.testing.assert_close(way(x, weight), expected, rtol=1e-3, atol=1e-5)
        took = {n: milliseconds(w, (x, weight), device, args.rounds) for n, w in WAYS.items()}
        print(f"{c:3} → {d:3} at {side:2}: ", *(f"{n} {t:.1f} ms" for n, t in took.items()))


if __name__ == "__main__":
    main()
