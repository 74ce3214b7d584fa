"""The M surrogates of Algorithm 1: of different ages, one epoch older at every craft step.

Surrogate m starts m·T/M epochs old and begins again from fresh weights when it reaches T
("stagger", paper, section 3.2): poisons must work at every stage of training, not at one.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from mpkit.device import Plan, for_models
from mpkit.functional import State, init, stack
from mpkit.ranks import ALONE, Ranks
from mpkit.recipe import Recipe
from mpkit.scenario import Scenario
from mpkit.streams import batches_of, epoch_order, stream
from mpkit.telling import Count, Tell
from mpkit.tracing import settled, traced
from mpkit.training import sgd_step


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """How old each of M surrogates is at a craft step c, which life it is in, and what it sees.
    Of those that this rank has, if there are several; `whole` knows all M."""

    models: int
    recipe: Recipe
    seed: int
    stagger: bool = True
    ranks: Ranks = ALONE

    @property
    def mine(self) -> range:
        """Which of the M surrogates are here."""
        return self.ranks.own(self.models)

    @property
    def whole(self) -> Ensemble:
        """The same, of all M."""
        return dataclasses.replace(self, ranks=ALONE)

    def epochs(self, step: int) -> list[int]:
        """All the epochs each surrogate has behind it at a craft step: m·T/M + c."""
        apart = self.recipe.epochs if self.stagger else 0
        return [m * apart // self.models + step for m in self.mine]

    def ages(self, step: int) -> list[int]:
        """The age in epochs of each surrogate: (m·T/M + c) mod T."""
        return [e % self.recipe.epochs for e in self.epochs(step)]

    def seeds(self, step: int) -> list[int]:
        """The seed of each surrogate's present life: of its weights and its shuffles."""
        lives = zip(self.mine, self.epochs(step), strict=True)
        return [stream(self.seed, "surrogate", m, e // self.recipe.epochs) for m, e in lives]

    def rates(self, step: int) -> Tensor:
        """(M,) each surrogate's learning rate at its age."""
        return torch.tensor([self.recipe.lr_at(age) for age in self.ages(step)])

    def orders(self, step: int, images: int) -> Tensor:
        """(M, batches, B) each surrogate's own shuffle of the epoch it is in, of so many images."""
        seen, batch = zip(self.seeds(step), self.ages(step), strict=True), self.recipe.batch
        return torch.stack([epoch_order(images, batch, s, "epoch", age) for s, age in seen])

    def start(
        self, module: nn.Module, scenario: Scenario, plan: Plan, tell: Tell | None = None
    ) -> State:
        """All surrogates at craft step 0: each trained on clean data to its own age."""
        seeds, ages = self.seeds(0), self.ages(0)
        if not seeds:  # more ranks than surrogates
            return init(module, 0).map(lambda t: t.to(scenario.train.x)[None][:0])
        state = stack([init(module, s) for s in seeds]).map(lambda t: t.to(scenario.train.x))

        count = Count(tell, sum(ages) * batches_of(len(scenario.train), self.recipe.batch))

        def work(models: slice, state: State) -> State:
            own = range(len(seeds))[models]
            for left in range(max(ages[models]), 0, -1):  # begun in turn, they arrive together
                running = [i for i, m in enumerate(own) if ages[m] >= left]
                seen = [(seeds[own[i]], ages[own[i]] - left) for i in running]
                some = state.pick(torch.tensor(running)) if len(own) > 1 else state
                moved = self._clean_epoch(module, scenario, some, seen, len(own) > 1, count=count)
                state = _put(state, running, moved) if len(own) > 1 else moved
            return state

        return settled(for_models(plan, len(seeds), work, state))

    def _clean_epoch(
        self, module, scenario: Scenario, state: State, seen: list, many: bool, *, count
    ):
        """An epoch of one model, or of `many`; `seen`: the seed and the age of each."""
        train, batch = scenario.train, self.recipe.batch
        orders = torch.stack([epoch_order(len(train), batch, s, "epoch", a) for s, a in seen], 1)
        lr = torch.tensor([self.recipe.lr_at(a) for _, a in seen]).to(train.x)
        step = traced(sgd_step, module, in_dims=(0, 0, 0, 0) if many else None)
        batches = (orders if many else orders[:, 0]).to(train.y.device)
        for rows in count.over(batches, len(seen)):
            state, _ = step(state, train.x[rows], train.y[rows], lr if many else lr[0])
        return state

    def reinitialised(self, module: nn.Module, state: State, step: int) -> State:
        """The surrogates at a craft step: those of age 0 with fresh weights, the others as given
        (at step 0 all are as `start` made them)."""
        young = [m for m, age in enumerate(self.ages(step)) if age == 0] if step else []
        if not young:
            return state
        seeds = self.seeds(step)
        return _put(state, young, stack([init(module, seeds[m]) for m in young]))


def _put(state: State, models: list[int], new: State) -> State:
    """`state` with these of its models replaced by those of `new`, in turn."""
    device = next(iter(state.params.values())).device
    where = torch.tensor(models, device=device)
    parts = zip(state, new, strict=True)
    put = [{k: v.index_copy(0, where, n[k].to(v)) for k, v in old.items()} for old, n in parts]
    return State(*put)
