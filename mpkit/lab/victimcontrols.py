"""VictimsLab's sliders and menus: how strong the poisons are, and how the victims train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mpkit.attack import RECIPE, Attack
from mpkit.lab.controls import Choice, Number, Say
from mpkit.networks import NETWORKS

Controls = dict[str, Number | Choice]


def victim_controls(
    attack: Attack,
    own: dict[str, int],
    more: Callable[[int], object],
    later: Callable[..., object],
    say: Say,
) -> Controls:
    """All of them; `own` as for `show`, `more(n)` is told of the number of victims, and
    `later(name=value)` of the rest, which acts after a reset."""
    r = attack.victim_recipe
    rows = (
        ("share", "ε (% of crafted)", own["share"], 0, 200, 1),
        ("seed", "victims' seed", own["seed"], 0, 999, 1),
        ("epochs", "victims' epochs", r.epochs, 1, 100, 1),
        ("lr", "learning rate", r.lr, 0.01, 0.5, 0.01),
        ("batch", "batch", r.batch, 5, 250, 1),
        ("weight_decay", "weight decay", r.weight_decay, 0.0, 0.01, 0.0001),
    )
    wanted = own["wanted"]
    found: Controls = {"victims": Number("victims", wanted, 1, max(64, wanted), more, say)}
    for name, label, value, low, high, step in rows:
        turn = lambda v, name=name: later(**{name: v})  # noqa: E731
        ends = min(low, value), max(high, value)
        found[name] = Number(label, value, *ends, turn, say, step=step)
    now = attack.victim_network or attack.network
    turns = lambda v: later(victim_network=v), lambda v: later(augment=v == "yes")
    found["network"] = Choice("victims' network", list(NETWORKS), now, turns[0], say)
    now = "yes" if r.augment else "no"
    found["augment"] = Choice("augmentation", ["no", "yes"], now, turns[1], say)
    return found


def show(controls: Controls, attack: Attack, own: dict[str, int]) -> None:
    """Set all of them; `own` has the lab's `share` of ε in per cent, `seed` and `wanted`."""
    values = (
        dataclasses.asdict(attack.victim_recipe)
        | own
        | {
            "victims": own["wanted"],
            "network": attack.victim_network or attack.network,
            "augment": "yes" if attack.victim_recipe.augment else "no",
        }
    )
    for name, control in controls.items():
        control.show(values[name])


def changed(attack: Attack, values: dict[str, object]) -> Attack:
    """The attack with its victims' network or recipe changed; other names are left out."""
    recipe = {k: v for k, v in values.items() if k in RECIPE}
    return dataclasses.replace(
        attack,
        victim_network=values.get("victim_network", attack.victim_network),
        victim_recipe=dataclasses.replace(attack.victim_recipe, **recipe),
    )
