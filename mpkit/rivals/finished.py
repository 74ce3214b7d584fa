"""The models that rivals ask: no Algorithm 1 trains them on."""

from __future__ import annotations

from torch import nn

from mpkit.ensemble import Ensemble
from mpkit.functional import State
from mpkit.streams import stream


class Finished(Ensemble):
    """Models that were trained to the end on clean data, and stay as they are: the rivals'."""

    def ages(self, step: int) -> list[int]:
        return [self.recipe.epochs] * len(self.mine)

    def seeds(self, step: int) -> list[int]:
        return [stream(self.seed, "surrogate", m, 0) for m in self.mine]

    def reinitialised(self, module: nn.Module, state: State, step: int) -> State:
        return state
