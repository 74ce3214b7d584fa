"""Crafting whose surrogates diverge is ended: its poisons would be no pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mpkit.metapoison import CraftRecord, CraftState


def refuse_divergence(step: CraftRecord) -> None:
    """Raises ValueError: from then on pictures would be no numbers, and no longer within ε."""
    if not math.isfinite(step.loss):
        raise ValueError(
            f"the adversarial loss is {step.loss} at craft step {step.step}, as the surrogates' "
            "training diverged: start anew with a lower --lr"
        )


def converging(
    steps: Iterator[tuple[CraftState, CraftRecord]],
) -> Iterator[tuple[CraftState, CraftRecord]]:
    """The same steps, as far as they are numbers. Raises ValueError like `refuse_divergence`."""
    for state, record in steps:
        refuse_divergence(record)
        yield state, record
