"""Submissions: data, never code, within the limits or refused with the reason."""

from __future__ import annotations

import json

import pytest

from mpkit.contest.limits import limits_of
from mpkit.contest.submission import MOST, read_submission
from tests.contest.conftest import BLUE, LIMITS, RED, write

LIMITED = limits_of(LIMITS)


def test_both_sides_are_read(folder):
    red = read_submission(folder / "submissions" / "foxes.json", LIMITED)
    blue = read_submission(folder / "submissions" / "hedgehogs.json", LIMITED)
    assert (red.team, red.side, red.given) == ("Foxes", "red", {"craft_steps": 1})
    assert (blue.defense.defense, blue.defense.jpeg_quality) == ("jpeg", 30)
    assert red.what == "craft_steps 1"
    assert blue.what == "jpeg, jpeg_quality 30"
    assert red.digest != blue.digest


def red(**attack):
    return RED | {"attack": attack}


def blue(**defense):
    return BLUE | {"defense": defense}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([], "the submission must be an object"),
        (RED | {"side": "green"}, "side must be red or blue, not 'green'"),
        (RED | {"team": "=1+1"}, "team must be a name"),
        (RED | {"team": 7}, "team must be a name"),
        (RED | {"team": "x" * 41}, "team must be a name"),
        (RED | {"team": "../../etc"}, "team must be a name"),
        (RED | {"note": "x" * 2001}, "note must be a text of at most 2000"),
        (RED | {"code": "import os"}, "'code' is unknown"),
        (RED | {"defense": {}}, "red hands in one of: attack, pictures"),
        (RED | {"side": "blue"}, "blue hands in one of: defense"),
        ({"team": "Foxes", "side": "red"}, "red hands in one of"),
        (RED | {"attack": None}, "attack is null"),
        (RED | {"attack": "strong"}, "attack must be an object"),
        (red(budget=0.06), "budget 0.06 is over the limit of 0.05"),
        (red(epsilon="27/255"), "epsilon 0.1059 is over the limit of 0.102"),
        (red(epsilon=float("nan")), "epsilon must lie between 0 and 1, not nan"),
        (red(epsilon="8 / 255"), "epsilon must be a number"),
        (red(craft_steps="many"), "craft_steps must be"),
        (red(craft_steps=10**400), "too large a number|must be"),
        (red(perturbation="recolor"), "not bounded by ε alone"),
        (red(victims=1), "'victims' is unknown"),
        (red(seed=1), "'seed' is unknown"),
        (red(target_index=1), "'target_index' is unknown"),
        (red(victim_epochs=1), "'victim_epochs' is unknown"),
        (red(epsilon_c=0.01), "epsilon_c does nothing with perturbation 'additive'"),
        (red(models=[]), "models must be"),
        (red(method="prayer"), "method 'prayer' is unknown"),
        (red(method="label-flip"), "changes labels, and labels are to be left alone"),
        (red(method="bullseye", opacity=0.3), "opacity does nothing with method 'bullseye'"),
        (blue(defense="prayer"), "defense 'prayer' is unknown; there are"),
        (blue(), "defense names none"),
        (blue(defense="jpeg", jpeg_quality=0), "jpeg_quality must lie between 1 and 95, not 0"),
        (blue(defense="jpeg", suspected=0.1), "suspected does nothing with defense 'jpeg'"),
        (blue(defense=["jpeg"]), "defense"),
    ],
)
def test_what_is_refused_is_named(tmp_path, row, words):
    path = write(tmp_path, "team", row)
    with pytest.raises(ValueError, match=words):
        read_submission(path, LIMITED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value"),
        ("{", "Expecting"),
        ("[" * 5000, "nested too deeply"),
        ('{"team": "A", "team": "B"}', "names 'team' twice"),
        (json.dumps(RED | {"note": "x" * MOST}), "more than the 65,536 bytes"),
    ],
)
def test_what_is_no_json_or_too_large_is_refused(tmp_path, text, words):
    path = tmp_path / "team.json"
    path.write_text(text, "utf-8")
    with pytest.raises((ValueError, OSError), match=words):
        read_submission(path, LIMITED)


def test_a_link_is_not_followed(tmp_path):
    path = write(tmp_path, "team", RED)
    (tmp_path / "link.json").symlink_to(path)
    with pytest.raises(OSError, match="is a link"):
        read_submission(tmp_path / "link.json", LIMITED)
