"""An attack as it is written into a run folder, and back."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from mpkit.device import describe, pick_device
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import Prepared
from mpkit.runs.record import digest, versions
from mpkit.settings import Settings
from mpkit.targets import Target

UNNAMED_DATA = "digits"
"""What is meant by runs, sweeps and share codes that name no data: the default when they were
made. It stays what it is whatever the default becomes; what is written now names its data."""


def to_dict(attack: Attack) -> dict:
    """The attack as plain JSON values, its data named; `from_dict` turns them back."""
    return dataclasses.asdict(attack)


def from_dict(values: dict) -> Attack:
    """The inverse of `to_dict`, also after JSON. Without a name of data, it means UNNAMED_DATA.

    Raises KeyError, TypeError and ValueError for values that are missing, unknown or wrong.
    """

    def lists(d: dict) -> dict:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in d.items()}

    values = {"data": UNNAMED_DATA} | lists(values)
    settings = lists(values.pop("settings"))
    recipe = Recipe(**lists(settings.pop("recipe")))
    victim_recipe = Recipe(**lists(values.pop("victim_recipe")))
    return Attack(
        **values, settings=Settings(**settings, recipe=recipe), victim_recipe=victim_recipe
    )


def run_settings(ready: Prepared, version: str, targets: Sequence[Target] = ()) -> dict:
    """What a run folder's settings.json holds: all that is needed to run again, and `version`.

    `targets`, where their margins are known: a resumed run takes them from there.
    """
    return {
        "format": 1,
        "attack": to_dict(ready.attack),
        "targets": [dataclasses.asdict(target) for target in targets],
        "plan": dataclasses.asdict(ready.plan),
        "victim_plan": dataclasses.asdict(ready.victim_plan),
        "device": describe(pick_device(ready.attack.device)),
        "data": digest(ready.scenario),
        "weights": ready.attack.digest_of_weights(),
        "versions": versions() | {"mpkit": version},
    }


def run_folder(attack: Attack, stamp: str, parent: Path = Path("runs")) -> Path:
    """A new folder's name that says when and what: runs/20260102-030405-digits-3-as-8."""
    adversarial = attack.adversarial_class or attack.poison_class
    what = (
        f"{attack.target_class}-as-{adversarial}"
        if attack.target_class and adversarial
        else attack.goal
    )
    name = f"{stamp}-{Path(attack.data).stem}-{what}-seed{attack.settings.seed}"
    return parent / re.sub(r"[^\w.-]+", "_", name)
