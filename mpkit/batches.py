"""The K batches of an unroll, with poisons in their places."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mpkit.scenario import Scenario


class Batches(NamedTuple):
    """The K batches that one model is unrolled on, poisons first.

    x (K, B, C, H, W) clean pictures, y (K, B) labels, slot (R,): which poison stands in row r < R
    of every one of the K batches; P where that row is no poison.
    """

    x: Tensor
    y: Tensor
    slot: Tensor

    def rows(self, poisons: Tensor, k: int | slice = slice(None)) -> Tensor:
        """(K, R, C, H, W) the first R rows of every batch, or (R, C, H, W) those of batch k, with
        poisons (P, C, H, W) in their places."""
        extended = torch.cat([poisons, poisons.new_zeros(1, *poisons.shape[1:])])
        is_poison = (self.slot < len(poisons))[:, None, None, None]
        return torch.where(
            is_poison, extended[self.slot], self.x[k][..., : len(self.slot), :, :, :]
        )

    def fill(self, rows: Tensor, k: int) -> Tensor:
        """(B, C, H, W) batch k with its first R rows replaced."""
        return torch.cat([rows, self.x[k, len(rows) :]])

    def scatter(self, rows: Tensor, poisons: Tensor) -> Tensor:
        """Gradients of rows (R, …) added up per poison (P, …)."""
        out = poisons.new_zeros(len(poisons) + 1, *poisons.shape[1:])  # the last: of no poison
        return out.index_add(0, self.slot, rows)[:-1]


class Rows(NamedTuple):
    """Which training rows make up the unrolls of one epoch, for one model or, with M, for several.

    Of each batch b that an unroll may begin at: rows (…, b, K, B), poisons first; `slot` (…, b, B)
    as in `Batches`, for all B rows of B_0; and how many of them are poisons, `count` (…, b).
    """

    rows: Tensor
    slot: Tensor
    count: Tensor

    def gather(self, scenario: Scenario, b: int, depth: int) -> Batches:
        """The K batches of the unroll that begins at batch b, with R = `depth`."""
        rows = self.rows[..., b, :, :]
        x, y = scenario.train.x[rows], scenario.train.y[rows]
        return Batches(x, y, self.slot[..., b, :depth])


def unroll_rows(scenario: Scenario, orders: Tensor, steps: int) -> Rows:
    """The rows of every unroll of K = `steps` in an epoch that is shuffled as `orders` (…, b, B).

    B_1 … B_{K−1} keep the poisons of B_0 and take their other rows from the batches that follow in
    the epoch, bases last (official code); after the last batch the first follows.
    """
    slots, absent = scenario.slots, len(scenario.bases)
    first = _first(slots[orders] == absent)
    rows = orders.gather(-1, first)
    slot = slots[rows]
    every, poisoned = [rows], slot < absent
    others = orders.gather(-1, _first(slots[orders] < absent))
    for k in range(1, steps):
        pool = torch.cat([rows, others.roll(-k, -2)], -1)
        rest = torch.cat([~poisoned, torch.zeros_like(poisoned)], -1)
        every.append(pool.gather(-1, _first(rest)[..., : rows.shape[-1]]))
    return Rows(torch.stack(every, -2), slot, poisoned.sum(-1))


def _first(last: Tensor) -> Tensor:
    """The order that puts the marked entries of each row last and keeps it otherwise."""
    return torch.sort(last.to(torch.int8), dim=-1, stable=True).indices


def depths(scenario: Scenario, batch: int) -> tuple[int, int]:
    """The two sizes R that poisons' rows are padded to, so that there are two shapes to trace: one
    for all but a few per cent of the batches (mean and two standard deviations), one for any."""
    n, p = len(scenario.train), len(scenario.bases)
    batch = min(batch, n)
    mean = batch * p / n
    usual = math.ceil(mean + 2 * math.sqrt(mean * (1 - p / n)))
    return min(usual, batch, p), min(batch, p)
