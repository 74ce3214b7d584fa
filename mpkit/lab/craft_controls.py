"""CraftLab's sliders, menus and thumbnails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mpkit.lab.kit.attack_lab import ATTACK, CRAFTING, TRAINING
from mpkit.lab.kit.controls import Number, Say
from mpkit.lab.kit.dials import ClassDial, dial, dials, show
from mpkit.lab.wish import most_poisons
from mpkit.runs.attack import Attack, remade, retuned
from mpkit.runs.scale import TUNED
from mpkit.scenario import Scenario

LIVE = {name: s for name, s in CRAFTING.items() if s.live}
LATER = {name: s for name, s in CRAFTING.items() if not s.live}
TRAINED = {name: TRAINING[name] for name in ("lr", "epochs")}
"""How everybody trains, surrogates and victims."""


def craft_controls(
    attack: Attack,
    scenario: Scenario,
    turn: Callable[..., object],
    later: Callable[..., object],
    say: Say,
) -> tuple[dict, dict]:
    """Those that act at once, by `turn(name=value)`, and those of the next run, by `later`."""
    data = scenario.train
    count = lambda n: later(budget=n / len(data))  # noqa: E731
    next_run = dials(LATER, attack.settings, later, say)
    next_run |= dials(TRAINED, attack.settings.recipe, later, say)
    next_run["poisons"] = Number(ATTACK["budget"].dial.label, 1, 1, 1, count, say, near=True)
    for name in ("bases", "fine_tune", "network"):
        told = lambda v, name=name: later(**{name: v})  # noqa: E731
        next_run[name] = dial(ATTACK[name], getattr(attack, name), told, say)
    for name in ("target_class", "poison_class"):
        told = lambda v, name=name: later(**{name: v})  # noqa: E731
        next_run[name] = ClassDial(ATTACK[name], data, told, say)
    return dials(LIVE, attack.settings, turn, say), next_run


def show_crafting(controls: dict, attack: Attack, scenario: Scenario) -> None:
    """Set all of them to what `attack` says, whose classes are named; only the bounds that act can
    be turned."""
    s, train = attack.settings, scenario.train
    count = round(attack.budget * len(train))
    controls["poisons"].limit(1, most_poisons(attack, train), count)
    show(controls, vars(s), CRAFTING)
    show(controls, {name: getattr(s.recipe, name) for name in TRAINED}, TRAINED)
    show(controls, {n: getattr(attack, n) for n in ("bases", "fine_tune", "network")}, ATTACK)
    for name in ("target_class", "poison_class"):
        controls[name].show(getattr(attack, name))
    controls["poison_class"].enable(attack.goal == "targeted")  # else there is nothing to choose
    for name, about in CRAFTING.items():
        if about.only and name in controls:
            controls[name].enable(about.acts(s))


def changed(attack: Attack, values: dict) -> Attack:
    """The attack with some fields of its own, or of its settings, replaced.

    Another `fine_tune` or method brings the settings that are usual with it; a network that does
    not ship with weights is trained from scratch.
    """
    named = values.get("network")
    tuning = "no" if named not in (None, TUNED) else values.get("fine_tune", attack.fine_tune)
    if tuning != attack.fine_tune:
        attack = retuned(attack, tuning, named)
    if (method := values.get("method", attack.settings.method)) != attack.settings.method:
        attack = remade(attack, method)
    values = {k: v for k, v in values.items() if k != "fine_tune"}
    inside = {k: v for k, v in values.items() if k in LATER}
    trained = {k: v for k, v in values.items() if k in TRAINED}
    own = {k: v for k, v in values.items() if k not in inside | trained}
    if trained:
        inside["recipe"] = dataclasses.replace(attack.settings.recipe, **trained)
        own["victim_recipe"] = dataclasses.replace(attack.victim_recipe, **trained)
    return dataclasses.replace(
        attack, settings=dataclasses.replace(attack.settings, **inside), **own
    )
