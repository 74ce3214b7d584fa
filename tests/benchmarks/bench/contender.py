"""What takes part in a benchmark."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Contender:
    """`run` computes the meta-gradient, summed over the models: (P, C, H, W).

    `calls`: after how many calls it is at its pace (something is traced or compiled first).
    `processor`: seconds of processor time used so far, wherever the work is done.
    """

    run: Callable[[], Tensor]
    calls: int = 1
    processor: Callable[[], float] = time.process_time

    def __call__(self) -> Tensor:
        return self.run()


LAYOUTS = {"plain": torch.contiguous_format, "channels last": torch.channels_last}
"""How pictures lie in memory: some convolutions on CPUs prefer the second. mpkit decides for
itself; a peer may be given either."""
