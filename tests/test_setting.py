"""A setting is declared once: what it may be, its flag, its control and its words follow."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from typing import Literal

import numpy as np
import pytest

from mpkit.cli.options import parser_of
from mpkit.lab.kit.controls import Choice, Number
from mpkit.lab.kit.dials import dial, dials, show
from mpkit.setting import PIXEL, Dial, Live, Setting, changes, check, declared, setting, settings_of


@declared
class Kettle:
    """How water is heated."""

    heat: float = setting(
        0.5, "how hot the plate is", (0, 1), Live("heat (n/255)", "h", 1, 128, unit=PIXEL)
    )
    litres: int = setting(2, "water in it", (1, 9), Dial("litres", "l", 1, 9))
    slope: float = setting(0.1, "how fast it heats", above=0)
    leak: float = setting(0.0, "what is lost", low=0, below=1)
    cups: int = setting(4, "how many drink", dial=Live("cups", "", 1, 12), low=1)
    tea: Literal["green", "black"] = setting("green", "what is made", dial=Live("tea"))
    lid: bool = setting(True, "no: it steams", dial=Dial("lid"))
    names: tuple[str, ...] = setting((), "who drinks")
    minutes: tuple[int, ...] | None = setting(None, "when to look, in minutes", live=True)
    note: str | None = setting(None, "what to remember")
    brew: str = setting("pot", choices={"pot": 1, "bag": 2}, words={"pot": "in a pot"})

    def __post_init__(self):
        if self.leak and self.lid:
            raise ValueError("a kettle with a lid does not leak")


KETTLE = settings_of(Kettle)
NUMBERS = {name: s for name, s in KETTLE.items() if s.kind in (int, float)}


# ── what is checked ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("heat", 1.5, "heat must lie between 0 and 1, not 1.5"),
        ("heat", -0.1, "heat must lie between 0 and 1, not -0.1"),
        ("heat", math.nan, "heat must lie between 0 and 1, not nan"),
        ("heat", "hot", "heat must be a number from 0 to 1, not 'hot'"),
        ("heat", None, "heat must be a number from 0 to 1, not None"),
        ("heat", True, "heat must be a number from 0 to 1, not True"),
        ("litres", 10, "litres must lie between 1 and 9, not 10"),
        ("litres", 2.0, "litres must be a whole number from 1 to 9, not 2.0"),
        ("litres", False, "litres must be a whole number from 1 to 9, not False"),
        ("slope", 0, "slope must be more than 0 and finite, not 0"),
        ("slope", math.inf, "slope must be more than 0 and finite, not inf"),
        ("slope", "s", "slope must be a number, more than 0 and finite, not 's'"),
        ("leak", 1, "leak must be at least 0 and less than 1, not 1"),
        ("leak", math.nan, "leak must be at least 0 and less than 1, not nan"),
        ("cups", 0, "cups must be at least 1, not 0"),
        ("cups", 1.5, "cups must be a whole number, at least 1, not 1.5"),
        ("tea", "red", "tea 'red' is unknown; there are: green, black"),
        ("tea", None, "tea None is unknown; there are: green, black"),
        ("lid", 1, "lid must be True or False, not 1"),
        ("lid", "yes", "lid must be True or False, not 'yes'"),
        ("names", "Ann", "names must be a tuple of texts, not 'Ann'"),
        ("names", ("Ann", 3), "names must be a tuple of texts, not ('Ann', 3)"),
        ("minutes", [1, 2], "minutes must be a tuple of whole numbers, not [1, 2]"),
        ("minutes", (1, 2.5), "minutes must be a tuple of whole numbers, not (1, 2.5)"),
        ("minutes", (True,), "minutes must be a tuple of whole numbers, not (True,)"),
        ("note", 3, "note must be a text, not 3"),
        ("brew", "cup", "brew 'cup' is unknown; there are: pot, bag"),
    ],
)
def test_what_will_not_do_is_refused_by_name_with_what_is_allowed(name, value, words):
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        Kettle(**{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"heat": 0}, {"heat": 1}, {"heat": np.float32(0.5)}, {"litres": np.int64(9)},
        {"slope": 1e-300}, {"leak": 0.999, "lid": False}, {"cups": 10**9}, {"names": ("a", "b")},
        {"minutes": None}, {"minutes": ()}, {"minutes": (np.int32(3),)}, {"note": None},
        {"note": ""}, {"brew": "bag"}, {"lid": False},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_allowed_stays_as_it_is(given):
    made = Kettle(**given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize("name", NUMBERS)
def test_the_bounds_of_a_number_are_those_that_are_declared(name):
    s = NUMBERS[name]
    tiny = 1 if s.kind is int else 1e-9
    for bound, out in ((s.low, -tiny), (s.high, tiny)):
        if bound is not None:
            assert s.holds(bound)
            assert not s.holds(bound + out)
    for bound, inside in ((s.above, tiny), (s.below, -tiny)):
        if bound is not None:
            assert not s.holds(bound)
            assert s.holds(bound + inside)
    assert not any(map(s.holds, (math.nan, math.inf, -math.inf)))


def test_a_number_without_bounds_is_finite():
    s = Setting(name="x", kind=float)
    s.check(-1e300)
    with pytest.raises(ValueError, match=r"^x must be finite, not inf$"):
        s.check(math.inf)
    assert s.allowed == "a number"


def test_the_first_wrong_setting_is_named():
    with pytest.raises(ValueError, match=r"^litres"):
        Kettle(cups=0, litres=0)


def test_what_is_made_in_another_way_can_be_checked_too():
    kettle = Kettle()
    check(kettle)
    object.__setattr__(kettle, "heat", 2)
    with pytest.raises(ValueError, match=r"^heat"):
        check(kettle)


def test_a_class_of_settings_may_check_what_goes_together_afterwards():
    with pytest.raises(ValueError, match="a lid does not leak"):
        Kettle(leak=0.1)
    with pytest.raises(ValueError, match=r"^leak must"):  # each by itself comes first
        Kettle(leak=3)


def test_settings_are_frozen_and_replaced_with_a_check():
    kettle = Kettle()
    with pytest.raises(dataclasses.FrozenInstanceError):
        kettle.heat = 1
    assert dataclasses.replace(kettle, cups=1) == Kettle(cups=1)
    with pytest.raises(ValueError, match="cups"):
        dataclasses.replace(kettle, cups=0)
    assert hash(kettle) == hash(Kettle())


# ── what is read off a declaration ──────────────────────────────────────────────────────────────


def test_kinds_and_choices_are_read_off_the_annotation():
    kinds = {name: (s.kind, s.item, s.optional) for name, s in KETTLE.items()}
    assert kinds["heat"] == (float, None, False)
    assert kinds["lid"] == (bool, None, False)
    assert kinds["names"] == (tuple, str, False)
    assert kinds["minutes"] == (tuple, int, True)
    assert kinds["note"] == (str, None, True)
    assert kinds["tea"] == (str, None, False)
    assert KETTLE["tea"].choices == ("green", "black")
    assert KETTLE["brew"].choices == ("pot", "bag")
    assert [s.name for s in KETTLE.values()] == [f.name for f in dataclasses.fields(Kettle)]
    assert all(s.default == getattr(Kettle(), name) for name, s in KETTLE.items())


def test_what_a_live_dial_turns_is_live():
    assert [name for name, s in KETTLE.items() if s.live] == ["heat", "cups", "tea", "minutes"]


def test_a_field_that_declares_nothing_is_a_setting_too():
    @declared
    class Plain:
        n: int = 3

    assert settings_of(Plain)["n"] == Setting(name="n", default=3, kind=int)
    assert "\n    n:" not in Plain.__doc__
    with pytest.raises(ValueError, match="n must be a whole number, not 'x'"):
        Plain(n="x")


def test_the_docstring_lists_what_is_declared():
    assert Kettle.__doc__.startswith("How water is heated.\n\n    heat: how hot the plate is; ")
    for line in (
        "    heat: how hot the plate is; a number from 0 to 1; may change in mid-run",
        "    litres: water in it; a whole number from 1 to 9",
        "    slope: how fast it heats; a number, more than 0 and finite",
        "    cups: how many drink; a whole number, at least 1; may change in mid-run",
        "    tea: what is made; 'green' | 'black'; may change in mid-run",
        "    lid: no: it steams; True or False",
        "    names: who drinks; a tuple of texts",
    ):
        assert f"\n{line}\n" in Kettle.__doc__
    assert "brew" not in Kettle.__doc__  # it has no text


# ── what people see ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", [0, 1, 7, 25.5, 26, 100, 255])
def test_a_value_is_shown_in_its_unit_and_taken_back(n):
    heat = KETTLE["heat"]
    assert heat.shown(n / PIXEL) == n
    assert heat.taken(heat.shown(n / PIXEL)) == n / PIXEL
    assert heat.shown(None) is heat.taken(None) is None


def test_what_has_no_unit_is_shown_as_it_is():
    for name, value in (("litres", 3), ("tea", "black"), ("names", ("a",)), ("lid", False)):
        assert KETTLE[name].shown(value) is KETTLE[name].taken(value) is value


def test_changes_are_told_of_what_is_live_and_has_a_symbol():
    before = Kettle()
    now = Kettle(heat=26 / 255, litres=3, cups=5, tea="black", minutes=(1,))
    assert changes(before, now, KETTLE.values()) == ["h 128 → 26"]
    assert changes(before, before, KETTLE.values()) == []


def test_changes_are_told_of_what_both_records_have():
    @dataclasses.dataclass
    class Record:
        litres: int = 1

    assert changes(Kettle(), Record(), KETTLE.values()) == []


def test_a_change_is_told_by_symbol_or_name():
    assert KETTLE["litres"].change(1, 2) == "l 1 → 2"
    assert KETTLE["tea"].change("green", "black") == "tea green → black"
    assert KETTLE["slope"].change(0.1234567, 1e-9) == "slope 0.123 → 1e-09"


# ── its flag and its control ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("heat", "26/255", 26 / 255),
        ("litres", "3", 3),
        ("lid", "no", False),
        ("names", "Ann, Bo", ("Ann", "Bo")),
        ("minutes", "1,20", (1, 20)),
        ("note", "hot!", "hot!"),
    ],
)
def test_a_flag_makes_what_the_check_allows(name, typed, value):
    assert parser_of(KETTLE[name])(typed) == value
    assert getattr(Kettle(**{name: parser_of(KETTLE[name])(typed)}), name) == value


@pytest.mark.parametrize(("name", "typed"), [("heat", "hot"), ("litres", "1.5"), ("lid", "maybe")])
def test_a_flag_refuses_what_is_of_another_kind(name, typed):
    with pytest.raises(argparse.ArgumentTypeError, match=typed):
        parser_of(KETTLE[name])(typed)


def test_a_control_is_turned_in_the_unit_people_see():
    heard = []
    control = dial(KETTLE["heat"], 26 / 255, heard.append, print)
    assert isinstance(control, Number)
    assert (control.label, control.low, control.high) == ("heat (n/255)", 1, 128)
    assert control.value == 26
    control.slider.value = 13
    assert heard == [13 / 255]
    assert Kettle(heat=heard[0]).heat == 13 / 255


def test_menus_offer_all_choices_in_peoples_words():
    heard = []
    tea = dial(KETTLE["tea"], "green", heard.append, print)
    lid = dial(KETTLE["lid"], True, heard.append, print)
    assert isinstance(tea, Choice)
    tea.menu.value, lid.menu.value = "black", False
    assert heard == ["black", False]
    pot = dial(KETTLE["brew"], "bag", heard.append, print)
    assert pot.menu.options == (("in a pot", "pot"), ("bag", "bag"))


def test_every_setting_with_a_dial_has_a_control_and_no_other():
    heard = {}
    controls = dials(KETTLE, Kettle(), lambda **new: heard.update(new), print)
    assert list(controls) == ["heat", "litres", "cups", "tea", "lid"]
    controls["cups"].slider.value = 7
    assert heard == {"cups": 7}
    show(controls, vars(Kettle(cups=3, tea="black", heat=0.2)), KETTLE)
    assert (controls["cups"].value, controls["tea"].value) == (3, "black")
    assert controls["heat"].value == pytest.approx(51)
    assert heard == {"cups": 7}  # to show is to tell nobody


@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, -math.inf, math.nan])
def test_a_number_that_no_float_holds_is_refused_in_words(value):
    for kind in (int, float):
        if kind is int and isinstance(value, float):
            continue
        with pytest.raises(ValueError, match=r"must"):
            Setting(name="n", kind=kind).check(value)
