"""VictimsLab's sliders and menus: how strong the poisons are, and how the victims train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mpkit.finetuning import load_weights
from mpkit.lab.kit.attack_lab import ATTACK, CRAFTING, TRAINING, recipe_changed
from mpkit.lab.kit.controls import Number, Say
from mpkit.lab.kit.dials import Control, dial, dials, show
from mpkit.runs.attack import Attack


def victim_controls(
    attack: Attack,
    own: dict[str, int],
    more: Callable[[int], object],
    later: Callable[..., object],
    say: Say,
) -> dict[str, Control]:
    """All of them; `own` as for `show_victims`, `more(n)` is told of the number of victims, and
    `later(name=value)` of the rest, for the next run."""

    def of(name: str):
        return lambda value: later(**{name: value})

    # A network that is named is trained as surrogates are, or from scratch: the last word counts.
    network = lambda v: later(victim_network=v, victim_fine_tune=None)  # noqa: E731
    seed, now = CRAFTING["seed"], attack.victim_network or attack.network
    tuning = ATTACK["victim_fine_tune"], attack.tuning_of_victims, of("victim_fine_tune")
    return {
        "victims": dial(ATTACK["victims"], own["wanted"], more, say),
        "share": Number("ε (% of crafted)", own["share"], 0, 200, of("share"), say, near=True),
        "seed": dial(seed, own["seed"], of("seed"), say, label="victims' seed"),
        **dials(TRAINING, attack.victim_recipe, later, say),
        "network": dial(ATTACK["victim_network"], now, network, say),
        "fine_tune": dial(*tuning, say),
    }


def show_victims(controls: dict[str, Control], attack: Attack, own: dict[str, int]) -> None:
    """Set all of them; `own` has the lab's `share` of ε in per cent, `seed` and `wanted`."""
    now = {"victims": own["wanted"], "network": attack.victim_network or attack.network}
    now |= {"fine_tune": attack.tuning_of_victims}
    show(controls, vars(attack.victim_recipe) | own | now, TRAINING)


def changed(attack: Attack, values: dict[str, object]) -> Attack:
    """The attack with its victims' network, recipe or tuning changed; other names are left out.
    To tune weights, victims take the network that the weights are of."""
    attack = recipe_changed(attack, **{k: v for k, v in values.items() if k in TRAINING})
    network = values.get("victim_network", attack.victim_network)
    tuning = values.get("victim_fine_tune", attack.victim_fine_tune)
    if tuning in ("last", "all"):
        network = load_weights(attack.weights).network
    return dataclasses.replace(attack, victim_network=network, victim_fine_tune=tuning)
