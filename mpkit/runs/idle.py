"""Settings that do nothing beside the others, such as the size of pictures that have one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator

from mpkit.defenses.defense import Defense
from mpkit.networks import evaluations
from mpkit.recipe import Recipe
from mpkit.runs import attack as attacks
from mpkit.runs.attack import Attack
from mpkit.setting import settings_of
from mpkit.settings import Settings

PARTS = {"settings": settings_of(Settings), "defense": settings_of(Defense)}
ALL = settings_of(Attack) | settings_of(Recipe) | PARTS["settings"] | PARTS["defense"]


def make_attack(scale: str | None = None, **given) -> Attack:
    """`mpkit.runs.attack.make_attack`, for people: with a warning for each of `given` that does
    nothing. What reads settings that are written down, where all are named, says none."""
    attack = attacks.make_attack(scale, **given)
    asked = [name for name, value in given.items() if value is not None and name in ALL]
    for name, why in idle(attack, asked, _argument).items():
        warnings.warn(f"{name} does nothing {why}: leave it out", stacklevel=2)
    return attack


def _argument(name: str, value: object = None) -> str:
    return name if value is None else f"{name}={value!r}"


def idle(attack: Attack, asked: Collection[str], spell: Callable[..., str]) -> dict[str, str]:
    """Of the settings that are asked for, those that do nothing, and why: what comes after "does
    nothing". ``spell(name)`` and ``spell(name, value)`` say how settings are written."""
    declared = {n: ALL[n].why_idle(_holder(attack, n), spell) for n in asked if n in ALL}
    found = declared | dict(_beside(attack, asked, spell))
    return {name: why for name, why in found.items() if why and name in asked}


def _holder(attack: Attack, name: str) -> object:
    """What has the setting, or else the attack."""
    return next((getattr(attack, part) for part in PARTS if name in PARTS[part]), attack)


def _beside(attack: Attack, asked: Collection[str], spell: Callable) -> Iterator[tuple[str, str]]:
    """What does nothing for a reason that no declaration has."""
    for name in ("train", "test"):
        if getattr(attack, f"n_{name}"):
            yield f"max_{name}", f"beside {spell(f'n_{name}')}"
    if not attack.tuned:
        yield "weights", f"where all is trained from scratch ({spell('fine_tune', 'no')})"
    if (method := attack.settings.method) == "label-flip":
        yield "epsilon", f"with {spell('method', method)}, which changes labels and no pixel"
        yield "bases", f"with {spell('method', method)}, which takes the nearest by pixels"
    if method != "metapoison":
        yield "kappa", f"with {spell('method', method)}, only with metapoison"
    if "batch_norm" in asked:
        networks = attack.networks((3, 32, 32), 2)
        if all(None in evaluations(module) for module in networks):
            yield "batch_norm", "where no batch norm is trained"
