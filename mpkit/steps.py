"""What a craft step leaves: the state to go on from, and a record of what happened."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from mpkit.functional import State
from mpkit.perturbation import Parameters


class Pull(NamedTuple):
    """The meta-gradient of a craft step, at the poisons as they were before it: `gradient`
    (P, C, H, W), ∂L_adv/∂pixels averaged over the surrogates; and `influence` (P,), by how much
    L_adv would rise without a poison's change δ, to first order: −⟨gradient, δ⟩."""

    gradient: Tensor
    influence: Tensor


@dataclasses.dataclass(frozen=True)
class CraftState:
    """All that a run is after `step` craft steps: perturbation parameters, Adam's two moments, the
    surrogates. Randomness is a function of seed and step, so there are no generators to keep. Where
    crafting begins anew, `kept` is the best end so far: parameters, and its "loss" ().

    `pull` is what moved the poisons last. Nothing depends on it: it is not saved, and None where a
    run begins or goes on."""

    step: int
    parameters: Parameters
    moment1: Parameters
    moment2: Parameters
    surrogates: State
    kept: Parameters = dataclasses.field(default_factory=dict)
    pull: Pull | None = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True)
class CraftRecord:
    """What happened in a craft step: `losses` (M,) and `ages` (M,) of the surrogates, mean L_adv in
    `loss`, the settings in force that may change, and the seconds it took."""

    step: int
    loss: float
    losses: tuple[float, ...]
    ages: tuple[int, ...]
    epsilon: float
    epsilon_c: float
    unroll_steps: int
    perturbation_mean: float
    seconds: float


def refuse_other(state: CraftState, models: int, poisons: int, names: Iterable[str]) -> None:
    """Raises ValueError if the state is none of a run with so many surrogates and poisons, and a
    perturbation by parameters of these names."""
    for what, found, expected in (
        ("models", state.surrogates.models, models),
        ("poisons", len(next(iter(state.parameters.values()))), poisons),
        ("perturbation by", ", ".join(sorted(state.parameters)), ", ".join(sorted(names))),
    ):
        if found != expected:
            raise ValueError(f"the state has {what} {found}, and this run {expected}")
