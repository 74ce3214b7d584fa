"""Whether JSON is what a dataclass says: the whole of it, by the annotations of its fields.

For files that came from elsewhere. `mpkit.setting` says in more detail what settings may be; here
are records, which have no settings' declarations: wrong types, numbers that no float can hold,
names that are missing or stand twice, and nesting without end are all ValueErrors with words.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST = 2**53
"""Whole numbers are exact up to here, in JSON of whatever program."""
DEEPEST = 50
"""Lists and objects that may lie in one another."""
WORDS = ("nan", "inf", "-inf")
"""How floats that are not finite are written, as JSON has no word for them."""
SEAL = "check"
"""The name of an object's checksum, among its other names."""


def parsed(text: bytes) -> object:
    """JSON that is UTF-8, not nested too deeply, and names nothing twice. Raises ValueError."""
    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [found]
    for _ in range(DEEPEST + 1):  # what json can read may still be too deep for who walks it
        inner = [one.values() if isinstance(one, dict) else one for one in level
                 if isinstance(one, dict | list)]  # fmt: skip
        level = list(itertools.chain.from_iterable(inner))
    if level:
        raise ValueError("it is nested too deeply")
    return found


def _whole(text: str) -> int:
    if len(text) > 20:  # digits of 64 bits
        raise ValueError(f"{text[:20]}… is too large a number")
    return int(text)


def _once(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {twice[:40]!r} twice")
    return found


def strict(value: object) -> object:
    """The same value with words for floats that are not finite, and lists for tuples."""
    if isinstance(value, dict):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def sealed(row: dict) -> dict:
    """The object with a checksum of all that is in it, whatever the order of its names."""
    text = json.dumps(row, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return row | {SEAL: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]}


def unsealed(row: dict, must_seal: bool = False) -> dict:
    """The object without its checksum. Raises ValueError where that is another one, or is missing
    though it must be there, as in all that an earlier mpkit did not write."""
    bare = {name: value for name, value in row.items() if name != SEAL}
    if (SEAL in row or must_seal) and sealed(bare) != row:
        raise ValueError("it was changed since it was written: its checksum is another one")
    return bare


def built(cls: type, row: object, strict: bool = False) -> Any:
    """A dataclass's value from its JSON object. Fields that have defaults may be missing, and what
    it does not know is left out, or refused if `strict`.

    Lists become tuples, and the words for what is not finite floats. Raises ValueError.
    """
    return cls(**values(cls, row, strict))


def values(cls: type, row: object, strict: bool = False) -> dict:
    """The arguments of `built`."""
    if not isinstance(row, dict):
        raise ValueError(f"{told(row)} is no JSON object")
    hints, found = _hints(cls), {}
    for field in dataclasses.fields(cls):
        if field.name in row:
            found[field.name] = value(hints[field.name], row[field.name], field.name)
        elif (field.default, field.default_factory) == (dataclasses.MISSING, dataclasses.MISSING):
            raise ValueError(f"it lacks {field.name!r}")
    if strict and (more := sorted(row.keys() - hints.keys())):
        raise ValueError(f"{told(more[0])} is unknown there")
    return found


_hints = functools.cache(get_type_hints)


def value(hint: Any, given: object, name: str) -> object:
    """A value as an annotation says. Raises ValueError naming it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for one in inner:
            if (given is None) == (one is types.NoneType):
                return value(one, given, name)
    elif hint is types.NoneType and given is None:
        return None
    elif origin is Literal and isinstance(given, str) and given in inner:
        return given
    elif origin is tuple and isinstance(given, list | tuple):
        return tuple(value(inner[0], one, name) for one in given)
    elif origin is dict and isinstance(given, dict):
        return {key: value(inner[1], one, f"{name}.{key}") for key, one in given.items()}
    elif dataclasses.is_dataclass(hint) and isinstance(given, dict):
        return built(hint, given, strict=True)
    elif hint is float and given in WORDS and isinstance(given, str):
        return float(given)
    elif hint in (int, float) and type(given) in (int, hint):
        if type(given) is float or abs(given) <= LARGEST:
            return given
    elif hint in (bool, str) and type(given) is hint:
        return given
    raise ValueError(f"{name} can't be {told(given)}")


def told(given: object) -> str:
    """A value in words that are never long."""
    if isinstance(given, list | tuple | dict):
        return "an object" if isinstance(given, dict) else "a list"
    if isinstance(given, int) and abs(given) > LARGEST:
        return "so large a number"
    text = repr(given)
    return text if len(text) <= 60 else f"{text[:57]}…"


def within(low: float, high: float, **named: object) -> None:
    """Raises ValueError unless every number in these values, however nested, is in the bounds; what
    is None says nothing."""
    for name, given in named.items():
        if isinstance(given, tuple):
            for one in given:
                within(low, high, **{name: one})
        elif given is not None and not low <= given <= high:
            shown = f"{low:g} and {high:g}" if math.isfinite(high) else f"{low:g} and any number"
            raise ValueError(f"{name} must lie between {shown}, not {told(given)}")
