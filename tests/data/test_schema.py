"""JSON that is what a dataclass says, and none other."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import pytest

from mpkit.data.schema import DEEPEST, built, parsed, told, value, values, within


@dataclasses.dataclass(frozen=True)
class Leaf:
    n: int
    name: str = "usual"


@dataclasses.dataclass(frozen=True)
class Tree:
    x: float
    many: tuple[float | None, ...]
    yes: bool
    leaf: Leaf | None = None
    kind: Literal["a", "b"] | None = None
    pairs: dict[str, int] | None = None
    deep: tuple[tuple[int, ...], ...] = ()


WHOLE = {"x": 1.5, "many": [1, None, "nan"], "yes": True}


def test_a_value_is_built():
    row = WHOLE | {"leaf": {"n": 3}, "kind": "a", "pairs": {"p": 1}, "deep": [[1], []], "new": 1}
    found = built(Tree, row)
    assert math.isnan(found.many[2])
    same = dataclasses.replace(found, many=())
    assert same == Tree(1.5, (), True, Leaf(3), "a", {"p": 1}, ((1,), ()))
    assert values(Leaf, {"n": 1}) == {"n": 1}


@pytest.mark.parametrize(
    "wrong",
    [{"x": "1"}, {"x": True}, {"x": None}, {"x": 10**400}, {"x": [1]}, {"x": {}}, {"many": 3},
     {"many": "nan"}, {"many": [[1]]}, {"many": ["NaN"]}, {"yes": 1}, {"yes": "yes"},
     {"leaf": 3}, {"leaf": {}}, {"leaf": {"n": 1.0}}, {"leaf": {"n": 2**60}},
     {"leaf": {"n": 1, "m": 2}}, {"leaf": {"n": True}}, {"kind": "c"}, {"kind": ["a"]},
     {"pairs": {"p": "1"}}, {"pairs": [1]}, {"deep": [1]}],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(wrong):
    with pytest.raises(ValueError, match=r"can't be|lacks|unknown"):
        built(Tree, WHOLE | wrong)


def test_what_is_missing_or_no_object_is_refused():
    for name in WHOLE:
        with pytest.raises(ValueError, match=f"lacks '{name}'"):
            built(Tree, {k: v for k, v in WHOLE.items() if k != name})
    for row in (None, 3, [], "x"):
        with pytest.raises(ValueError, match="no JSON object"):
            built(Tree, row)
    with pytest.raises(ValueError, match="'new' is unknown"):
        built(Tree, WHOLE | {"new": 1}, strict=True)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"1" * 400,
        b"\xff",
        b'"\x00"',
        b'{"a": 1, "a": 2}',
        b"",
    ],
)
def test_text_that_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parsed(text)


def test_what_is_nested_too_deeply_for_others_is_refused_as_well():
    assert parsed(b"[" * DEEPEST + b"]" * DEEPEST)
    for start, end in ((b"[", b"]"), (b'{"a":', b"}")):
        with pytest.raises(ValueError, match="nested too deeply"):
            parsed(start * (DEEPEST + 1) + b"1" + end * (DEEPEST + 1))


def test_words_are_never_long():
    assert len(told("x" * 1000)) <= 60
    assert told(10**5000) == "so large a number"
    assert (told([1] * 1000), told({})) == ("a list", "an object")


def test_numbers_stay_within_bounds():
    within(0, 1, a=0, b=(1.0, None, (0.5,)), c=None)
    for wrong in (-1, 2, math.nan, math.inf, (0, (3,))):
        with pytest.raises(ValueError, match="a must lie between 0 and 1, not"):
            within(0, 1, a=wrong)
    with pytest.raises(ValueError, match="any number"):
        within(0, math.inf, a=-1)
    assert value(int | None, None, "n") is None
