"""VictimsLab's sliders and menus: how strong the poisons are, and how the victims train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mpkit.attack import RECIPE, Attack
from mpkit.finetuning import FINE_TUNE, WORDS, load_weights
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
    # A network that is named is trained as surrogates are, or from scratch: the last word counts.
    turns = (
        lambda v: later(victim_network=v, victim_fine_tune=None),
        lambda v: later(augment=v == "yes"),
    )
    found["network"] = Choice("victims' network", list(NETWORKS), now, turns[0], say)
    tunings = [(WORDS[t], t) for t in FINE_TUNE]
    turn = lambda v: later(victim_fine_tune=v)  # noqa: E731
    found["fine_tune"] = Choice("what they train", tunings, attack.tuning_of_victims, turn, say)
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
            "fine_tune": attack.tuning_of_victims,
            "augment": "yes" if attack.victim_recipe.augment else "no",
        }
    )
    for name, control in controls.items():
        control.show(values[name])


def changed(attack: Attack, values: dict[str, object]) -> Attack:
    """The attack with its victims' network, recipe or tuning changed; other names are left out.
    To tune weights, victims take the network that the weights are of."""
    recipe = {k: v for k, v in values.items() if k in RECIPE}
    network = values.get("victim_network", attack.victim_network)
    tuning = values.get("victim_fine_tune", attack.victim_fine_tune)
    if tuning in ("last", "all"):
        network = load_weights(attack.weights).network
    return dataclasses.replace(
        attack,
        victim_network=network,
        victim_fine_tune=tuning,
        victim_recipe=dataclasses.replace(attack.victim_recipe, **recipe),
    )
