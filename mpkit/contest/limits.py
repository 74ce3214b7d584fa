"""What all teams are given, and how far each may go."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

from mpkit.data.schema import strict, told
from mpkit.defenses.defense import Defense
from mpkit.runs.attack import RECIPE, SETTINGS, Attack, make_attack
from mpkit.runs.saved import from_dict, to_dict
from mpkit.setting import Setting, declared, setting, settings_of

DAY = 86_400
NAMED = ("target_class", "poison_class", "target_index")
DRAWN = {*NAMED, "adversarial_class", "goal", "seed", "settings", "victim_recipe", "victims"}
"""What the draw decides, or the limits, and neither a team nor the ground."""
RED = {*SETTINGS, *RECIPE, "bases", "budget"} - DRAWN - {"compute"}
"""What a red team may set."""
GROUND = {*settings_of(Attack), *SETTINGS, *RECIPE, *(f"victim_{name}" for name in RECIPE)}
GROUND -= {*DRAWN, "bases", "budget", "epsilon", "method", "perturbation", *settings_of(Defense)}
GROUND -= {"scenario"}  # which draws nothing, and sets all of these
"""What holds for all."""


@declared
class Limits:
    """How far each team may go. `ground` is what all are given: data, network, recipe and so on, as
    `mpkit.make_attack` takes them. `named`: the target of pictures made elsewhere, as its
    ``target_class``, ``poison_class`` and ``target_index``; without it there are no such.

    Raises ValueError naming the value and what is allowed.
    """

    budget: float = setting(
        0.02, "share of the training pictures that red may change", above=0, high=1
    )
    epsilon: float = setting(8 / 255, "bound on δ, in pixel values of [0, 1]", (1 / 255, 1))
    craft_seconds: float = setting(
        60.0, "processor seconds of crafting for one target", above=0, high=DAY
    )
    judge_seconds: float = setting(
        60.0, "processor seconds of one target's victims under a defense", above=0, high=DAY
    )
    memory: float = setting(4.0, "GB that a team's process may take", (1, 1024))
    targets: int = setting(4, "targets that are drawn", (1, 100))
    victims: int = setting(4, "fresh victims for each target and pair of teams", (1, 64))
    allowance: float = setting(0.02, "clean accuracy that a defense may cost for nothing", (0, 1))
    ground: dict = dataclasses.field(default_factory=dict)
    named: dict | None = None

    def __post_init__(self):
        taken(self.ground, GROUND, "ground")
        if self.named is not None and set(self.named) != set(NAMED):
            raise ValueError(f"named wants {', '.join(NAMED)}, and nothing else")
        self.attack()

    def as_json(self) -> dict:
        """The inverse of `limits_of`."""
        return strict({k: v for k, v in dataclasses.asdict(self).items() if v is not None})

    def attack(self, **given: object) -> Attack:
        """The attack of a team that sets nothing, or `given`; its victims are everybody's."""
        usual = {"budget": self.budget, "epsilon": self.epsilon, "victims": self.victims}
        usual |= taken(self.ground, GROUND, "ground")
        try:
            ground, mine = make_attack(**usual), make_attack(**usual | given)
        except TypeError as error:  # of a value that no name can have, such as an object
            raise ValueError(f"a value can't be understood: {error}") from error
        return dataclasses.replace(mine, victim_recipe=ground.victim_recipe)


def limits_of(row: object) -> Limits:
    """Limits from a JSON object; what is not there is as usual. Raises ValueError."""
    return Limits(**taken(row, settings_of(Limits), "limits"))


def taken(row: object, known: Mapping[str, Setting] | Iterable[str], what: str) -> dict:
    """The values of a JSON object, each of a known name; "8/255" is a number as well. Raises
    ValueError for what is no object, names that are unknown, and null."""
    if not isinstance(row, dict):
        raise ValueError(f"{what} must be an object of names and values, not {told(row)}")
    if unknown := [name for name in row if name not in known]:
        there = ", ".join(sorted(known))
        raise ValueError(f"{what}: {told(unknown[0])} is unknown; there are: {there}")
    if empty := [name for name, value in row.items() if value is None]:
        raise ValueError(f"{what}: {empty[0]} is null; leave it out for what is usual")
    return {name: _number(value) for name, value in row.items()}


def _number(value: object) -> object:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and (found := re.fullmatch(r"(\d{1,6})/([1-9]\d{0,5})", value)):
        return int(found[1]) / int(found[2])
    return value


def ground_of(limits: Limits) -> dict:
    """All that the limits come to, as plain JSON."""
    return strict({"limits": limits.as_json(), "attack": to_dict(limits.attack())})


def same_ground(then: object, limits: Limits) -> bool:
    """Whether the limits come to what `ground_of` gave, maybe of an earlier mpkit, which did not
    know all settings."""
    try:
        attack = from_dict(then["attack"])
    except (AttributeError, KeyError, TypeError, ValueError):  # of a hand that wrote in it
        return False
    return then.get("limits") == ground_of(limits)["limits"] and attack == limits.attack()
