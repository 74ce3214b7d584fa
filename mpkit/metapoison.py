"""Algorithm 1 of MetaPoison: craft poisons by gradients through surrogates' training.

    for each craft step:
        for each surrogate m, for each batch of one shuffled epoch that holds a poison:
            G += ∇_poisons mean_k L_adv(w_k),  w_{k+1} = w_k − lr·∇CE(w_k; B_k),  w_0 = surrogate m
            surrogate m takes one ordinary training step
        one Adam step on the perturbation's parameters along G; project to |δ| ≤ ε, |g| ≤ ε_c

(paper, Algorithm 1 and section 3; `Settings` says where the official code differs.)
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from mpkit.batches import depths, unroll_rows
from mpkit.device import Plan, for_models, in_turn
from mpkit.ensemble import Ensemble
from mpkit.finetuning import seen, sight, sighted
from mpkit.functional import State
from mpkit.metagradient import METAGRADIENTS, meta_gradient
from mpkit.perturbation import PERTURBATIONS, Parameters, Perturbation, adam, pulled_back, to_8bit
from mpkit.ranks import ALONE, Ranks
from mpkit.rivals.adaptive import disguised, kept_near
from mpkit.rivals.features import held_back
from mpkit.rivals.finished import Finished
from mpkit.rivals.registry import RIVALS, STILL_MADE
from mpkit.scenario import Scenario, TargetLoss
from mpkit.settings import FIXED, SPREAD, Settings
from mpkit.steps import CraftRecord, CraftState, Pull, refuse_other
from mpkit.streams import generator
from mpkit.telling import Count, Tell
from mpkit.tracing import settled, traced
from mpkit.training import sgd_step


@dataclasses.dataclass(frozen=True)
class Crafting:
    """What never changes in a run. `start` makes the first state, `step` each next one. `sight` is
    the scenario as surrogates see it: in features, where only their last layer trains."""

    scenario: Scenario
    sight: Scenario
    module: nn.Module
    ensemble: Ensemble
    perturbation: Perturbation
    plan: Plan

    def start(self, s: Settings, tell: Tell | None = None) -> CraftState:
        """The state before the first craft step: random perturbation, staggered surrogates."""
        surrogates = self.ensemble.start(self.module, self.sight, self.plan, tell)
        return CraftState(0, **self._fresh(s, 0), surrogates=surrogates)

    def _fresh(self, s: Settings, restart: int) -> dict[str, Parameters]:
        """A random perturbation, another one for each restart, and Adam's moments."""
        bases, which = self.scenario.base_images, (restart,) * (restart > 0)
        noise = generator(s.seed, "perturbation", *which)
        first = self.perturbation.init(bases, s.epsilon, noise)
        first = self.perturbation.project(first, bases, s.epsilon, s.epsilon_c)
        zeros = {k: torch.zeros_like(v) for k, v in first.items()}
        return {"parameters": first, "moment1": zeros, "moment2": zeros}

    def step(
        self, state: CraftState, s: Settings, tell: Tell | None = None
    ) -> tuple[CraftState, CraftRecord]:
        """One craft step: an epoch of every surrogate, or what a rival asks its surrogates, and
        then one step of the poisons."""
        began, bases = time.perf_counter(), self.scenario.base_images
        restart, turn = s.place_of(state.step)
        if restart and not turn:
            state = dataclasses.replace(state, **self._fresh(s, restart))
        poisons = self.perturbation.apply(state.parameters, bases)
        found, losses, surrogates = self._asked(state, poisons, s, tell)
        influence = -(found * (poisons - bases)).flatten(1).sum(1)
        moved, *moments = self._moved(state, found, s)
        moved, kept = self._best(state, moved, losses.mean(), s)
        change = (self.perturbation.apply(moved, bases) - bases).abs().mean().item()
        pull = Pull(found, influence)
        new = CraftState(state.step + 1, moved, *moments, surrogates, kept, pull)
        return new, CraftRecord(
            step=new.step,
            loss=losses.mean().item(),
            losses=tuple(losses.tolist()),
            ages=tuple(self.ensemble.whole.ages(state.step)),
            epsilon=s.epsilon,
            epsilon_c=s.epsilon_c,
            unroll_steps=s.unroll_steps,
            perturbation_mean=change,
            seconds=time.perf_counter() - began,
        )

    def _asked(
        self, state: CraftState, poisons: Tensor, s: Settings, tell: Tell | None
    ) -> tuple[Tensor, Tensor, State]:
        """The gradient by poisons (P, C, H, W), the losses (M,), and the surrogates afterwards: of
        all surrogates the former, of those that this rank has the last."""
        seen, undisguised = disguised(poisons, s, state.step)
        rows, pull = sighted(self.module, seen)
        before = after = self.ensemble.reinitialised(self.module, state.surrogates, state.step)
        given = self.module, self.sight, before, rows, s
        if not self.ensemble.mine:
            gradient, losses = rows.new_zeros(0, *rows.shape), rows.new_zeros(0)
        elif s.method in RIVALS:
            gradient, losses = RIVALS[s.method](*given, self.plan)
        else:
            gradient, losses, after = self.epoch(before, rows, state.step, s, tell)
        if s.expected == "features" and self.ensemble.mine:
            gradient = kept_near(gradient, *given, plan=self.plan)
        count, ranks = self.ensemble.models, self.ensemble.ranks
        losses = ranks.gathered(losses, count)
        found = undisguised(pull(ranks.summed(gradient, rows) / count))
        if s.method == "feature-collision":
            delta = poisons - self.scenario.base_images
            found, losses = held_back(found, losses, delta, s.beta)
        return found, losses, after

    def _moved(self, state: CraftState, found: Tensor, s: Settings) -> tuple[Parameters, ...]:
        """The parameters after a step of Adam along `found`, or as they are made at once; and its
        moments."""
        bases, (_, turn) = self.scenario.base_images, s.place_of(state.step)
        slopes = pulled_back(self.perturbation, state.parameters, bases, found)
        if s.signed:
            slopes = {k: g.sign() for k, g in slopes.items()}
        bounds = self.perturbation.bounds(s.epsilon, s.epsilon_c).items()
        rates = {k: s.rate_at(turn) * b for k, b in bounds}
        moments = state.moment1, state.moment2
        moved, *moments = adam(state.parameters, moments, slopes, rates, turn)
        if s.method in STILL_MADE:
            moved = STILL_MADE[s.method](self.scenario, self.perturbation, s)
        return self.perturbation.project(moved, bases, s.epsilon, s.epsilon_c), *moments

    def _best(
        self, state: CraftState, moved: Parameters, loss: Tensor, s: Settings
    ) -> tuple[Parameters, Parameters]:
        """The parameters after a step, which are the best restart's after the last, and `kept`."""
        end, kept = state.step + 1, state.kept
        if s.place_of(end) == (0, end):
            return moved, kept
        if end == s.craft_steps or not s.place_of(end)[1]:
            kept = kept if kept and kept["loss"] <= loss else moved | {"loss": loss}
        return {k: kept[k] for k in moved} if end == s.craft_steps else moved, kept

    def epoch(
        self,
        surrogates: State,
        poisons: Tensor,
        step: int,
        s: Settings,
        tell: Tell | None = None,
    ):
        """An epoch of this rank's surrogates: meta-gradients (m, *poisons.shape), L_adv (m,), new
        State. Poisons are as surrogates see them (`sight`)."""
        train = self.sight.train
        orders = self.ensemble.orders(step, len(train)).to(train.y.device)
        models = len(self.ensemble.mine)
        count = Count(tell, models * orders.shape[-2])
        work = partial(self._epoch, poisons, s, count=count)
        given = surrogates, orders, self.ensemble.rates(step).to(train.x)
        return settled(for_models(self.plan, models, work, *given))

    def _epoch(
        self, poisons: Tensor, s: Settings, models: slice, state: State, orders, lr, *, count
    ):
        """The same for one surrogate, or for `models` with a leading M."""
        train, aim = self.sight.train, (self.sight.targets, self.sight.adversarial)
        metagradient, sgd = self._functions(s, many=lr.dim() > 0)
        rows = unroll_rows(self.sight, orders, s.unroll_steps)
        usual, most = depths(self.sight, orders.shape[-1])
        total = poisons.new_zeros(*lr.shape, *poisons.shape)
        # Read once an epoch: to ask a GPU batch by batch would be to wait for it as often.
        most_held = rows.count.view(-1, orders.shape[-2]).amax(0).tolist()
        losses, counted = torch.zeros_like(lr), torch.zeros_like(lr)
        # Batches need not wait for one another where the surrogate goes on without them.
        alone = s.compute in SPREAD and not lr.dim()
        spare = self.plan.spare(len(self.ensemble.mine)) if alone else 1

        def asked():
            nonlocal state
            for b in count.over(range(orders.shape[-2]), models.stop - models.start):
                own, batches = orders[..., b, :], None
                if most_held[b]:
                    batches = rows.gather(self.sight, b, usual if most_held[b] <= usual else most)
                    given = state, poisons, batches, lr, *aim
                    yield lambda b=b, given=given: (b, metagradient(*given))
                if batches is None or s.surrogate_data == "clean":
                    state, _ = sgd(state, train.x[own], train.y[own], lr)
                elif spare > 1:  # else the unroll has taken the surrogate's own step, see below
                    x = batches.fill(batches.rows(poisons, 0), 0)
                    state, _ = sgd(state, x, batches.y[0], lr)

        for b, found in in_turn(asked(), spare):
            total += found.gradient
            held = rows.count[..., b] > 0  # without a poison it is along for another model's
            losses, counted = losses + held * found.loss, counted + held
            if spare == 1 and s.surrogate_data == "poisoned":
                state = found.first
        return total, losses / counted.clamp(min=1), state

    def _functions(self, s: Settings, many: bool) -> tuple[Callable, Callable]:
        """A batch's meta-gradient and the ordinary step, for one surrogate or for several."""
        aim, how = (s.loss, s.kappa, self.scenario.goal), (s.average, s.poisoned_steps)
        over = [(0, None, 0, 0, None, None), (0, 0, 0, 0)] if many else [None, None]
        fixed = (METAGRADIENTS[s.metagradient], aim, how)
        found = traced(meta_gradient, self.module, *fixed, in_dims=over[0], way=s.compute)
        return found, traced(sgd_step, self.module, in_dims=over[1])


def target_loss(scenario: Scenario, module: nn.Module, s: Settings) -> TargetLoss:
    """L_adv of a scenario's targets, by a module that is the caller's own."""
    aim = s.loss, s.kappa, scenario.goal
    return TargetLoss(module, *aim, seen(module, scenario.targets), scenario.adversarial)


def craft(
    scenario: Scenario,
    network: nn.Module,
    settings: Settings | Callable[[], Settings],
    state: CraftState | None = None,
    plan: Plan | None = None,
    tell: Tell | None = None,
    *,
    ranks: Ranks = ALONE,
) -> Iterator[tuple[CraftState, CraftRecord]]:
    """Algorithm 1 as an iterator of craft steps; it may be closed, and resumed from any state.
    With several `ranks` each has its own surrogates, in its states too, and all have the rest.

    `settings` may be a callable: it is asked before every step, so that ε or K can change mid-run.
    `tell` hears of the batches within a step, and of those that surrogates train before the first.
    Raises ValueError for a state of another run, and where a setting changes that is fixed.
    """
    now = settings if callable(settings) else lambda: settings
    begun = current = now()
    run = crafting(scenario, network, begun, plan, ranks)
    state = state or run.start(begun, tell)
    refuse_other(state, len(run.ensemble.mine), len(scenario.bases), run.perturbation.names)
    while state.step < current.craft_steps:
        state, record = run.step(state, current, tell)
        yield state, record
        current = now()
        for name in FIXED:
            if getattr(current, name) != getattr(begun, name):
                raise ValueError(
                    f"{name} is fixed when a run begins: it was {getattr(begun, name)}, and "
                    f"{getattr(current, name)} needs a new run"
                )


def crafting(
    scenario: Scenario,
    network: nn.Module,
    settings: Settings,
    plan: Plan | None = None,
    ranks: Ranks = ALONE,
) -> Crafting:
    """What never changes in a run with these settings."""
    kind = Finished if settings.method in RIVALS else Ensemble
    ensemble = kind(settings.models, settings.recipe, settings.seed, settings.stagger, ranks)
    change = PERTURBATIONS[settings.perturbation]
    return Crafting(scenario, sight(network, scenario), network, ensemble, change, plan or Plan())


def poisons_of(scenario: Scenario, state: CraftState, settings: Settings) -> Tensor:
    """The poisons as 8-bit pictures within ε: uint8 (P, C, H, W)."""
    perturbation = PERTURBATIONS[settings.perturbation]
    return to_8bit(perturbation, state.parameters, scenario.base_images, settings.epsilon)
