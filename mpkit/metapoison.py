"""Algorithm 1 of MetaPoison: craft poisons by gradients through surrogates' training.

    for each craft step:
        for each surrogate m, for each batch of one shuffled epoch that holds a poison:
            G += ∇_poisons mean_k L_adv(w_k),  w_{k+1} = w_k − lr·∇CE(w_k; B_k),  w_0 = surrogate m
            surrogate m takes one ordinary training step
        one Adam step on the perturbation's parameters along G; project to |δ| ≤ ε, |g| ≤ ε_c

(paper, Algorithm 1 and section 3; METAPOISON.md §3 for the official code's version.)
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from mpkit import ensemble
from mpkit.device import Plan
from mpkit.functional import Network, State, stack
from mpkit.metagradient import METAGRADIENTS
from mpkit.perturbation import PERTURBATIONS, Parameters, adam, pulled_back, to_8bit
from mpkit.scenario import Scenario, adversarial_loss
from mpkit.settings import Settings
from mpkit.training import generator, sgd_step


@dataclasses.dataclass(frozen=True)
class CraftState:
    """All that a run is after `step` craft steps: perturbation parameters, Adam's two moments, the
    surrogates. Randomness is a function of seed and step, so there are no generators to keep."""

    step: int
    parameters: Parameters
    moment1: Parameters
    moment2: Parameters
    surrogates: State


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


def start(
    scenario: Scenario, network: Network, settings: Settings, plan: Plan | None = None
) -> CraftState:
    """The state before the first craft step: random perturbation, staggered surrogates."""
    perturbation = PERTURBATIONS[settings.perturbation]()
    bases = scenario.base_images
    noise = generator(settings.seed, "perturbation")
    parameters = perturbation.init(bases, settings.epsilon, noise)
    parameters = perturbation.project(parameters, bases, settings.epsilon, settings.epsilon_c)
    zeros = {k: torch.zeros_like(v) for k, v in parameters.items()}
    surrogates = ensemble.staggered(
        network,
        scenario,
        settings.recipe,
        settings.models,
        settings.seed,
        plan or Plan(),
        settings.stagger,
    )
    return CraftState(0, parameters, zeros, zeros, surrogates)


def craft_step(
    scenario: Scenario,
    network: Network,
    state: CraftState,
    settings: Settings,
    plan: Plan | None = None,
) -> tuple[CraftState, CraftRecord]:
    """One craft step: an epoch of every surrogate, then one step of the poisons."""
    began, perturbation = time.perf_counter(), PERTURBATIONS[settings.perturbation]()
    bases = scenario.base_images
    surrogates = ensemble.reborn(
        network, state.surrogates, settings.recipe.epochs, settings.seed, state.step,
        settings.stagger,
    )  # fmt: skip
    poisons = perturbation.apply(state.parameters, bases).detach()

    def work(models: slice):
        return surrogate_epoch(
            scenario, network, surrogates.pick(models), poisons, settings, state.step, models
        )

    parts = (plan or Plan()).map(work, settings.models)
    gradient = sum(g for g, _, _ in parts) / settings.models
    losses = torch.cat([loss for _, loss, _ in parts])
    slopes = pulled_back(perturbation, state.parameters, bases, gradient)
    if settings.signed:
        slopes = {k: g.sign() for k, g in slopes.items()}
    bounds = perturbation.bounds(settings.epsilon, settings.epsilon_c)
    units = {k: settings.rate_at(state.step) * bound for k, bound in bounds.items()}
    parameters, *moments = adam(
        state.parameters, (state.moment1, state.moment2), slopes, units, state.step
    )
    parameters = perturbation.project(parameters, bases, settings.epsilon, settings.epsilon_c)
    new = CraftState(state.step + 1, parameters, *moments, stack([s for *_, s in parts]))
    moved = (perturbation.apply(parameters, bases) - bases).abs().mean().item()
    age = ensemble.ages(settings.models, settings.recipe.epochs, state.step, settings.stagger)
    record = CraftRecord(
        new.step, losses.mean().item(), tuple(losses.tolist()), tuple(age), settings.epsilon,
        settings.epsilon_c, settings.unroll_steps, moved, time.perf_counter() - began,
    )  # fmt: skip
    return new, record


def surrogate_epoch(
    scenario: Scenario,
    network: Network,
    state: State,
    poisons: Tensor,
    settings: Settings,
    step: int,
    models: slice,
) -> tuple[Tensor, Tensor, State]:
    """An epoch of some surrogates: the meta-gradient (P, C, H, W), L_adv (M,), new state."""
    recipe, metagradient = settings.recipe, METAGRADIENTS[settings.metagradient]
    age = ensemble.ages(settings.models, recipe.epochs, step, settings.stagger)[models]
    seeds = ensemble.seeds(settings.seed, settings.models, recipe.epochs, step, settings.stagger)[
        models
    ]
    orders = ensemble.epoch_orders(scenario, recipe, seeds, age)
    lr = ensemble.learning_rates(scenario, recipe, age)
    adversarial = target_loss(scenario, network, settings)
    total, losses, counted = torch.zeros_like(poisons), torch.zeros_like(lr), torch.zeros_like(lr)
    for b in range(orders.shape[1]):
        batches, first = ensemble.gather(scenario, orders, b, settings.unroll_steps), None
        if batches is not None:
            found = metagradient(
                network, adversarial, poisons, state, batches, lr, settings.average,
                settings.poisoned_steps,
            )  # fmt: skip
            # A model whose batch holds no poison is along only because another's does.
            held = (batches.slot < len(poisons)).any(1).to(lr)
            total, first = total + found.gradient, found.first
            losses, counted = losses + held * found.losses, counted + held
        state = _advance(
            scenario, network, state, poisons, batches, orders[:, b], lr, settings, first
        )
    return total, losses / counted.clamp(min=1), state


def _advance(scenario, network, state, poisons, batches, rows, lr, settings, first) -> State:
    """One ordinary training step. On poisoned data the unroll's first step has already taken it."""
    if settings.surrogate_data == "poisoned" and batches is not None:
        if first is not None:
            return first
        x, y = batches.fill(batches.rows(poisons)[0], 0), batches.y[0]
    else:
        x, y = scenario.train.x[rows], scenario.train.y[rows]
    return sgd_step(network, state, x, y, lr)[0]


def target_loss(
    scenario: Scenario, network: Network, settings: Settings
) -> Callable[[State, Tensor], Tensor]:
    """L_adv of M models as the meta-gradient wants it: (state, pixels of the batch) → (M,).

    Where batch norm evaluates by the batch at hand, the targets are appended to the batch that
    holds the poisons (official code); otherwise the batch is not looked at.
    """
    targets = scenario.targets

    def loss(state: State, x: Tensor) -> Tensor:
        pixels = targets.expand(*x.shape[:-4], *targets.shape)
        if network.by_batch:
            pixels = torch.cat([x, pixels], -4)
        logits = network(state, pixels, train=False)[0][..., -len(targets) :, :]
        return adversarial_loss(logits, scenario, settings.loss, settings.kappa)

    return loss


def craft(
    scenario: Scenario,
    network: Network,
    settings: Settings | Callable[[], Settings],
    state: CraftState | None = None,
    plan: Plan | None = None,
) -> Iterator[tuple[CraftState, CraftRecord]]:
    """Algorithm 1 as an iterator of craft steps; it may be closed, and resumed from any state.

    `settings` may be a callable: it is asked before every step, so that ε or K can change mid-run.
    Raises ValueError for a state of another run, and where a setting in `FIXED` changes.
    """
    now = settings if callable(settings) else lambda: settings
    begun = current = now()
    state = state or start(scenario, network, begun, plan)
    _check(scenario, state, begun)
    while state.step < current.craft_steps:
        state, record = craft_step(scenario, network, state, current, plan)
        yield state, record
        current = now()
        for name in FIXED:
            if getattr(current, name) != getattr(begun, name):
                raise ValueError(
                    f"{name} is fixed when a run begins: it was {getattr(begun, name)}, and "
                    f"{getattr(current, name)} needs a new run"
                )


FIXED = ("models", "perturbation", "seed", "stagger", "recipe")
"""Settings that decide what the state is made of; all others may change from step to step."""


def _check(scenario: Scenario, state: CraftState, settings: Settings) -> None:
    """Raises ValueError if the state is none of this scenario and these settings."""
    models = len(next(iter(state.surrogates.params.values())))
    if models != settings.models:
        raise ValueError(f"the state has {models} models and the settings {settings.models}")
    wanted = PERTURBATIONS[settings.perturbation]().init(
        scenario.base_images, settings.epsilon, generator(0)
    )
    if set(wanted) != set(state.parameters):
        raise ValueError(
            f"the state perturbs by {', '.join(state.parameters)} and the settings by "
            f"{', '.join(wanted)}"
        )
    poisons, bases = len(next(iter(state.parameters.values()))), len(scenario.bases)
    if poisons != bases:
        raise ValueError(f"the state has {poisons} poisons and the scenario {bases}")


def poisons_of(scenario: Scenario, state: CraftState, settings: Settings) -> Tensor:
    """The poisons as 8-bit pictures within ε: uint8 (P, C, H, W)."""
    perturbation = PERTURBATIONS[settings.perturbation]()
    return to_8bit(perturbation, state.parameters, scenario.base_images, settings.epsilon)
