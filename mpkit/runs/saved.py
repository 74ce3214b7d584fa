"""An attack as it is written into a run folder, and back."""

from __future__ import annotations

import dataclasses

from mpkit.defenses.defense import Defense
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack
from mpkit.setting import settings_of
from mpkit.settings import Settings

UNNAMED_DATA = "digits"
"""What is meant by runs, sweeps and share codes that name no data: the default when they were
made. It stays what it is whatever the default becomes; what is written now names its data."""


def to_dict(attack: Attack) -> dict:
    """The attack as plain JSON values, its data named; `from_dict` turns them back."""
    return dataclasses.asdict(attack)


def from_dict(values: dict) -> Attack:
    """The inverse of `to_dict`, also after JSON. Without a name of data, it means UNNAMED_DATA.

    Raises KeyError, TypeError and ValueError for values that are missing, unknown or wrong: only
    those that an earlier mpkit did not know take their usual value.
    """

    def lists(d: dict) -> dict:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in d.items()}

    def made(of: type, values: dict, **inner: object) -> object:
        for name, about in settings_of(of).items():
            if name not in values and name not in inner and not about.added:
                raise KeyError(name)
        return of(**values, **inner)

    values = {"data": UNNAMED_DATA} | lists(values)
    settings = lists(values.pop("settings"))
    if settings.get("metagradient") == "matching":  # what gradient matching was called once
        settings |= {"method": "gradient-matching", "metagradient": "auto"}
    recipe = made(Recipe, lists(settings.pop("recipe")))
    victim_recipe = made(Recipe, lists(values.pop("victim_recipe")))
    inner = {"settings": made(Settings, settings, recipe=recipe), "victim_recipe": victim_recipe}
    inner["defense"] = made(Defense, lists(values.pop("defense", {})))
    return made(Attack, values, **inner)
