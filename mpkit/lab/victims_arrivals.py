"""Some fresh victims with their twins, trained side by side, for VictimsLab."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from mpkit.evaluation import VictimRecord, noise_poisons, train_victims
from mpkit.lab.poison_source import rescaled
from mpkit.runs.prepared import Prepared
from mpkit.scenario import Scenario
from mpkit.verdict import ARMS


@dataclasses.dataclass(frozen=True)
class Arrival:
    """Some victims with their twins: a record each."""

    records: tuple[VictimRecord, ...]


def pictures(
    scenario: Scenario, poisons: Tensor, strength: float, epsilon: float, seed: int
) -> dict[str, Tensor]:
    """What each arm trains on, (N, C, H, W) in [0, 1].

    `poisons` uint8 (P, C, H, W) with `strength` percent of their change, and noise of that
    `epsilon` (in [0, 1] pixels), both as 8-bit pictures.
    """
    noise = noise_poisons(scenario, epsilon, seed).to(scenario.train.x.device)
    return {
        "poisoned": scenario.poisoned(rescaled(scenario, poisons, strength, 100)),
        "clean": scenario.train.x,
        "noise": scenario.poisoned(noise.float() / 255),
    }


def arrive(ready: Prepared, sources: dict[str, Tensor], victims: range, seed: int) -> Arrival:
    """Train these victims on each arm's pictures and judge them; twins share their seed."""
    recipe, plan = ready.attack.victim_recipe, ready.victim_plan
    runs = train_victims(
        ready.scenario,
        ready.victim_network,
        recipe,
        {arm: sources[arm] for arm in ARMS},
        victims=victims,
        seed=seed,
        plan=plan,
    )
    *_, (_, records) = runs
    return Arrival(tuple(records))
