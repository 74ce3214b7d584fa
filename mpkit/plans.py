"""Which plan an attack's computations run by: measured on a piece of the very work."""

from __future__ import annotations

import torch

from mpkit import ensemble
from mpkit.data import cache_folder
from mpkit.device import Plan, choose_plan
from mpkit.evaluation import ARMS
from mpkit.functional import Network
from mpkit.metagradient import METAGRADIENTS
from mpkit.metapoison import target_loss
from mpkit.scenario import Scenario
from mpkit.settings import Settings
from mpkit.training import Recipe, sgd_step


def crafting_plan(
    scenario: Scenario, surrogate: Network, s: Settings, name: str, device: torch.device
) -> Plan:
    """For the surrogates, measured on the meta-gradients of one batch; `name` is the network's."""
    state = surrogate.init(range(s.models)).map(lambda t: t.to(device))
    orders = ensemble.epoch_orders(scenario, s.recipe, list(range(s.models)), [0] * s.models)
    lr = ensemble.learning_rates(scenario, s.recipe, [0] * s.models)
    adversarial, poisons = target_loss(scenario, surrogate, s), scenario.base_images

    def work(models: slice) -> None:
        batches = ensemble.gather(scenario, orders[models], 0, s.unroll_steps)
        if batches is not None:
            strategy = METAGRADIENTS[s.metagradient]
            strategy(surrogate, adversarial, poisons, state.pick(models), batches, lr[models])
        _finish(device)

    about = f"{s.metagradient}, batch {s.recipe.batch}, K {s.unroll_steps}"
    key = f"craft {name} {scenario.train.shape} {about}"
    return choose_plan(
        key, lambda plan: plan.map(work, s.models), s.models, device, cache_folder(),
        stacking=not surrogate.convolutional,
    )  # fmt: skip


def victims_plan(
    scenario: Scenario,
    victim: Network,
    recipe: Recipe,
    victims: int,
    name: str,
    device: torch.device,
) -> Plan:
    """For `victims` of every arm side by side, measured on one training step."""
    count, batch = victims * len(ARMS), min(recipe.batch, len(scenario.train))
    state = victim.init([0] * count).map(lambda t: t.to(device))
    x, y = scenario.train.x[:batch], scenario.train.y[:batch]
    lr = torch.full((count,), recipe.lr, device=device)

    def work(models: slice) -> None:
        n = models.stop - models.start
        pixels = x.expand(n, *x.shape).contiguous()
        sgd_step(victim, state.pick(models), pixels, y.expand(n, -1), lr[models])
        _finish(device)

    key = f"victims {name} {scenario.train.shape} batch {batch}"
    return choose_plan(
        key, lambda plan: plan.map(work, count), count, device, cache_folder(),
        stacking=not victim.convolutional,
    )  # fmt: skip


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # kernels are only queued: without this all plans look fast
