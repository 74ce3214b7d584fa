"""Some fresh victims with their twins, trained side by side, for VictimsLab."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from mpkit.attack import Prepared
from mpkit.evaluation import ARMS, VictimRecord, judge, noise_poisons, predict, victim_seed
from mpkit.lab.stock import rescaled
from mpkit.scenario import Scenario
from mpkit.training import train


@dataclasses.dataclass(frozen=True)
class Arrival:
    """Some victims with their twins: a record each, and the target's class probabilities by each
    poisoned one, (victims, classes)."""

    records: tuple[VictimRecord, ...]
    probabilities: tuple[tuple[float, ...], ...]


def pictures(
    scenario: Scenario, poisons: Tensor, share: float, epsilon: float, seed: int
) -> dict[str, Tensor]:
    """What each arm trains on, (N, C, H, W) in [0, 1].

    `poisons` uint8 (P, C, H, W) with `share` percent of their change, and noise of that `epsilon`
    (in [0, 1] pixels), both as 8-bit pictures.
    """
    noise = noise_poisons(scenario, epsilon, seed).to(scenario.train.x.device)
    return {
        "poisoned": scenario.poisoned(rescaled(scenario, poisons, share, 100)),
        "clean": scenario.train.x,
        "noise": scenario.poisoned(noise.float() / 255),
    }


def arrive(ready: Prepared, sources: dict[str, Tensor], victims: range, seed: int) -> Arrival:
    """Train these victims on each arm's pictures and judge them; twins share their seed."""
    scenario, model, plan = ready.scenario, ready.victim_network, ready.victim_plan
    arms = [(arm, v) for v in victims for arm in ARMS]
    seeds, recipe = [victim_seed(seed, v) for _, v in arms], ready.attack.victim_recipe
    seen = [sources[arm] for arm, _ in arms].__getitem__
    data = scenario.train.x, scenario.train.y
    *_, (state, _) = train(model, *data, recipe, seeds, plan=plan, own_x=seen)
    records = judge(scenario, model, state, arms, plan)
    poisoned = state.pick(torch.arange(ARMS.index("poisoned"), len(arms), len(ARMS)))
    p = predict(model, poisoned, scenario.targets[:1], scenario.train.x)[:, 0].softmax(-1)
    return Arrival(tuple(records), tuple(map(tuple, p.tolist())))
