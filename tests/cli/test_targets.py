"""``mpkit targets``: the test pictures of a class, nearest first, as a table and for machines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mpkit.evaluation.margins import read_margins
from mpkit.evaluation.targets import THIRDS, Target
from mpkit.runs.prepared import clean_margins, clean_setup, load_scenario, prepare
from tests.cli.conftest import BY_RULE, DRAWN, call, flags, from_flags, refused

LINE = re.compile(r"(near|middle|far|–) +(\d+) +(\d+) +(?:[-+]\d+\.\d\d|–)( \*|  .+)?")


def wanted(how: list[str]) -> list[Target]:
    """What the library says of the same pictures."""
    scenario = load_scenario(from_flags(*how, "--target-index", "0"))
    margins = clean_margins(from_flags(*how, "--target-index", "0"), scenario)
    return margins.targets(int(scenario.target_labels[0]), int(scenario.adversarial[0]))


def test_a_line_a_picture_third_by_third_and_the_default_is_marked():
    how = flags(**BY_RULE)
    said = call("targets", *how)
    assert said.code == 0
    head, columns, *lines = said.out.splitlines()
    found = wanted(how)
    good = [t for t in found if t.third]
    assert head.startswith(
        f"{len(good)} of {len(found)} test pictures of class 3 are targets for 8"
    )
    assert columns.split() == ["index", "test", "image", "margin"]
    rows = [LINE.fullmatch(line).groups() for line in lines]
    assert [int(index) for _, index, *_ in rows] == [t.index for t in found]
    assert [third for third, *_ in rows if third != "–"] == sorted(
        (t.third for t in good), key=THIRDS.index
    )
    (taken,) = [int(index) for _, index, _, more in rows if more == " *"]
    assert (taken,) == prepare(from_flags(*how), progress=False).attack.target_index
    why = {int(index): more.strip() for third, index, _, more in rows if third == "–"}
    assert why == {t.index: t.why for t in found if not t.third}
    assert said.err.endswith("without it mpkit attack takes the one marked *\n")


def test_the_list_for_machines_is_the_same():
    how = flags(**BY_RULE)
    said = call("targets", *how, "--json", "-", "--quiet")
    assert said.err == ""
    assert [Target(**row) for row in json.loads(said.out)] == wanted(how)
    said = call("targets", *how, "--json", "list.json", "--quiet")
    assert json.loads(Path("list.json").read_text()) == json.loads(
        call("targets", *how, "--json", "-", "--quiet").out
    )
    assert said.out.startswith(f"{len([t for t in wanted(how) if t.third])} of ")


def test_a_target_that_is_named_changes_nothing_about_the_list():
    how = flags(**BY_RULE | {"target_index": 2})
    assert call("targets", *how, "--quiet").out == call("targets", *flags(**BY_RULE), "--quiet").out


def test_margins_are_kept_where_they_shall_be():
    how = flags(**BY_RULE)
    assert call("targets", *how, "--keep", "here", "--quiet").code == 0
    attack = from_flags(*how, "--target-index", "0")
    scenario = load_scenario(attack)
    setup = clean_setup(attack, scenario)
    (file,) = Path("here").iterdir()
    assert file.name == f"margins-{setup.key}.safetensors"
    found = read_margins(Path("here"), setup)
    assert found.targets(3, 8) == wanted(how)


def test_a_goal_without_a_class_is_told_in_words():
    how = flags(**DRAWN | {"goal": "self-concealment", "target_class": "4"})
    assert "of class 4 are targets for anything else, by" in call("targets", *how, "--quiet").out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--json nowhere/x.json", "folder that is there"),
        ("--target-class x", "class 'x'"),
        ("--lr 1000", "diverged"),
        ("--out run", "unrecognized arguments: --out"),
    ],
)
def test_what_cannot_be_listed_gets_one_clear_line(given, words):
    if words == "diverged":
        said = call("targets", *flags(**BY_RULE), "--quiet", *given.split())
        assert said.code == 0
        assert said.out.startswith("0 of ")
        assert words in said.out
    else:
        assert words in refused("targets", *flags(**BY_RULE), "--quiet", *given.split())
