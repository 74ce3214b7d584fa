"""Share codes: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

import pytest

from mpkit.runs.share import ShareError, decode, differences, encode, merged

VALUES = {"settings": {"epsilon": 0.1, "seed": 3}, "target_class": "1", "poison_class": None}


def forged(text: bytes, kind: str = "craft", version: int = 1) -> str:
    """A code with a right checksum around anything."""
    data = base64.urlsafe_b64encode(zlib.compress(text)).decode().rstrip("=")
    body = f"mpkit{version}.{kind}.{data}"
    return f"{body}.{hashlib.sha256(body.encode()).hexdigest()[:8]}"


def test_round_trip():
    code = encode("craft", VALUES)
    assert decode("craft", code) == VALUES
    assert decode("craft", f"  {code[:20]}\n{code[20:]} ") == VALUES
    assert all(c.isalnum() or c in "._-" for c in code)


@pytest.mark.parametrize("position", [0, 8, 14, 20, 30, -1])
def test_a_letter_that_is_wrong_is_found(position):
    code = list(encode("craft", VALUES))
    code[position] = "x" if code[position] != "x" else "y"
    with pytest.raises(ShareError):
        decode("craft", "".join(code))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "no share code"),
        ("hello", "no share code"),
        (encode("craft", VALUES)[:-3], "damaged or cut off"),
        (forged(json.dumps(VALUES).encode(), version=2), "version 2.*reads version 1"),
        (forged(json.dumps(VALUES).encode(), kind="victims"), "for the lab “victims”"),
        (forged(b"[1, 2]"), "something else than settings"),
        (forged(b"not json"), "cannot be read"),
        (forged(b'{"a": "' + b"0" * 10_000_000 + b'"}'), "cannot be read|something else"),
    ],
)
def test_other_codes_are_refused_in_words(code, words):
    with pytest.raises(ShareError, match=words):
        decode("craft", code)


def test_only_differences_are_told():
    usual = {"a": 1, "inner": {"b": 2, "c": 3}}
    values = {"a": 1, "inner": {"b": 2, "c": 4}}
    assert differences(values, usual) == {"inner": {"c": 4}}
    assert differences(usual, usual) == {}
    assert merged(usual, differences(values, usual)) == values
