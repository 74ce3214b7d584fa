"""Attacks of the paper and of the talk, by name: what ``--scenario dog-bird`` stands for.

They lie in scenarios.toml beside this file, each setting with its source. They have sizes of their
own, so the scale does not count; what is said beside a scenario goes before it.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Collection
from fractions import Fraction
from importlib.resources import files

FRACTIONS = ("epsilon",)
"""Settings that are written as texts: 8/255 is no decimal number."""
ABOUT = ("title", "source", "note", "parts")
OTHERS = ("data", "classes", "n_test", "max_test")
"""What makes other pictures the test set, in which the numbers of targets mean nothing."""


@functools.cache
def _read() -> dict:
    return tomllib.loads((files(__package__) / "scenarios.toml").read_text("utf-8"))


def names() -> tuple[str, ...]:
    """What scenarios there are."""
    return tuple(_read()["scenarios"])


def about(name: str) -> dict[str, str]:
    """Its `title`, `source`, and `note`, "" for none."""
    found = _read()["scenarios"][name]
    return {k: found.get(k, "") for k in ABOUT[:3]}


def sources(name: str) -> dict[str, str]:
    """Setting → where its value is from, of a scenario."""
    found = _read()["scenarios"][name]
    tables = [*(_read()["parts"][part] for part in found["parts"]), found]
    return {k: table["source"] for table in tables for k in table if k not in ABOUT}


def values(name: str, beside: Collection[str] = ()) -> dict[str, object]:
    """What `mpkit.make_attack` is given for a scenario, by name. `beside`: the names of what is
    said beside it: of other test pictures the first is the target, where it has a number here.

    Raises ValueError listing what there is.
    """
    if name not in names():
        raise ValueError(f"scenario {name!r} is unknown; there are: {', '.join(names())}")
    found = _read()["scenarios"][name]
    tables = [*(_read()["parts"][part] for part in found["parts"]), found]
    made = {k: v for table in tables for k, v in table.items() if k not in ABOUT}
    made |= {k: float(Fraction(made[k])) for k in FRACTIONS if k in made}
    if "target_index" in made and any(k in OTHERS for k in beside):
        made["target_index"] = [0]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in made.items()}


def first_ten(name: str) -> tuple[int, ...]:
    """Of CIFAR-10's class "bird" or "airplane", the test pictures 0 … 9 of the paper by the numbers
    they have here (``target_index``)."""
    return tuple(_read()["order"][name])
