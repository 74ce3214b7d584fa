"""Share codes of labs that stand on an attack: its settings, and what is the lab's own."""

from __future__ import annotations

from mpkit.data.datasets import NAMED, has_cifar10
from mpkit.data.places import exists
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import loaded_at_once
from mpkit.runs.saved import from_dict
from mpkit.runs.share import USUAL, ShareError, decode, merged


def attack_of(kind: str, code: str, **usual: object) -> tuple[Attack, dict[str, object]]:
    """What `attack_code` was given; `usual` are the lab's own values where a code names none.

    Codes from before they named their data are of UNNAMED_DATA.

    Raises ShareError for what is no such code, and ValueError for settings that cannot be run.
    """
    values = decode(kind, code)
    own = values.pop("lab", {})
    if not isinstance(own, dict) or not own.keys() <= usual.keys():
        raise ShareError("This code holds settings that this lab does not know.")
    for name, value in own.items():
        fits = type(value) is type(usual[name]) or (
            isinstance(usual[name], float) and type(value) is int
        )
        if not fits and usual[name] is not None:
            raise ShareError(f"This code holds a {name} that does not fit: {value!r}"[:200])
    try:
        attack = from_dict(merged(USUAL, values))
    except (KeyError, TypeError, AttributeError) as error:
        raise ShareError(f"This code holds settings that do not fit: {error}") from error
    refuse_absent(attack.data)
    check(attack)
    return attack, usual | own


def refuse_absent(data: str) -> None:
    """Raises ShareError for pictures that are not here: a code fetches nothing by itself."""
    if data == "cifar10":
        if not has_cifar10():
            raise ShareError(
                "This code needs CIFAR-10, which is not here: 162 MiB, fetched once by "
                "`mpkit fetch cifar10`. Then Use it again."
            )
    elif data not in NAMED and not (data and exists(data)):
        raise ShareError(
            f"This code needs the pictures at {data!r}, and there is nothing here: put them there, "
            "and Use it again."
        )


def check(attack: Attack) -> None:
    """Raises ValueError for an attack that cannot be run."""
    _, scenario = loaded_at_once(attack)
    train = scenario.train
    attack.networks(train.shape, len(train.classes))
