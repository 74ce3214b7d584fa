"""A lab's settings as a short code that can be pasted into another student's panel.

``mpkit1.KIND.DATA.CHECK``: JSON, deflated, in URL-safe base 64, and a checksum that finds typing
errors. Nothing in it is executed, and every value goes through the checks of the settings it
becomes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib

from mpkit.runs.attack import Attack
from mpkit.runs.saved import UNNAMED_DATA, to_dict

VERSION, LIMIT = 1, 20_000

# A code that names no data means the digits, and one without a target the first picture, as the
# oldest codes do.
USUAL = to_dict(Attack(data=UNNAMED_DATA, target_index=(0,)))


class ShareError(ValueError):
    """A code that cannot be used; the message says why, and what to do."""


def encode(kind: str, values: dict) -> str:
    """The code of JSON `values` for labs of a `kind` (letters only)."""
    text = json.dumps(values, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    data = base64.urlsafe_b64encode(zlib.compress(text, 9)).decode().rstrip("=")
    body = f"mpkit{VERSION}.{kind}.{data}"
    return f"{body}.{_check(body)}"


def decode(kind: str, code: str) -> dict:
    """The values in a code. Raises ShareError for anything but a code of this version and kind."""
    parts = "".join(code.split()).split(".")
    if len(parts) != 4 or not parts[0].startswith("mpkit"):
        raise ShareError("This is no share code: one looks like mpkit1.craft.….….")
    head, found, data, check = parts
    if head != f"mpkit{VERSION}":
        raise ShareError(
            f"This code is of version {head.removeprefix('mpkit')[:8]}, and this mpkit reads "
            f"version {VERSION}: update the older of the two."
        )
    if check != _check(".".join(parts[:3])):
        raise ShareError("This code is damaged or cut off: copy it again, as a whole.")
    if found != kind:
        raise ShareError(f"This code is for the lab “{found[:20]}”, and this is “{kind}”.")
    try:
        packed = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
        reader = zlib.decompressobj()
        text = reader.decompress(packed, LIMIT)
        values = json.loads(text)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ShareError("This code cannot be read: it was not made by mpkit.") from error
    if reader.unconsumed_tail or not isinstance(values, dict):
        raise ShareError("This code holds something else than settings.")
    return values


def differences(values: dict, usual: dict) -> dict:
    """What of nested `values` is not as usual: keeps a code short. `merged` is the way back."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            value = differences(value, usual[name])
            if value:
                found[name] = value
        elif value != usual[name]:
            found[name] = value
    return found


def merged(usual: dict, values: dict) -> dict:
    """`usual` with nested `values` in their places."""
    return usual | {
        k: merged(usual[k], v) if isinstance(usual.get(k), dict) else v for k, v in values.items()
    }


def _check(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:8]


def attack_code(kind: str, attack: Attack, **own: object) -> str:
    """The code of an attack, for labs of this kind; `own` are further JSON values.

    It names its data even where that is the default: another mpkit may have another.
    """
    values = {"data": attack.data} | differences(to_dict(attack), USUAL)
    return encode(kind, values | ({"lab": own} if own else {}))
