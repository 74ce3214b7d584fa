"""Share codes of labs that stand on an attack: its settings, and what is the lab's own."""

from __future__ import annotations

import hashlib

from mpkit.data import cache_folder, cifar10
from mpkit.data.datasets import NAMED
from mpkit.data.places import at
from mpkit.lab.kit.share import ShareError, decode, differences, encode, merged
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import loaded_at_once
from mpkit.runs.saved import UNNAMED_DATA, from_dict, to_dict

# A code that names no data means the digits, and one without a target the first picture, as the
# oldest codes do.
USUAL = to_dict(Attack(data=UNNAMED_DATA, target_index=(0,)))


def attack_code(kind: str, attack: Attack, **own: object) -> str:
    """The code of an attack, for labs of this kind; `own` are further JSON values.

    It names its data even where that is the default: another mpkit may have another.
    """
    values = {"data": attack.data} | differences(to_dict(attack), USUAL)
    return encode(kind, values | ({"lab": own} if own else {}))


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
        if not _fetched():
            raise ShareError(
                "This code needs CIFAR-10, which is not here: 162 MiB, fetched once by "
                "`mpkit fetch cifar10`. Then Use it again."
            )
    elif data not in NAMED and not (data and at(data).exists()):
        raise ShareError(
            f"This code needs the pictures at {data!r}, and there is nothing here: put them there, "
            "and Use it again."
        )


def _fetched() -> bool:
    """Whether CIFAR-10 can be had without the network: decoded, or as the right archive."""
    folder = cache_folder()
    key, archive = f"cifar10-{cifar10.SHA256[:16]}", folder / cifar10.URL.rpartition("/")[2]
    if all((folder / f"{key}.{kind}").is_file() for kind in ("json", "npy")):
        return True
    if not archive.is_file():
        return False
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == cifar10.SHA256


def check(attack: Attack) -> None:
    """Raises ValueError for an attack that cannot be run."""
    _, scenario = loaded_at_once(attack)
    train = scenario.train
    attack.networks(train.shape, len(train.classes))
