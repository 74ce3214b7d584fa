"""The draw: final, of what was there, and read by no file that came or went afterwards."""

from __future__ import annotations

import contextlib
import json

import pytest

from mpkit.contest import contest as module
from mpkit.contest.contest import AFTER, GONE, TEAMS, drawn, open_contest, play
from mpkit.data.schema import LARGEST, sealed
from tests.contest.conftest import BLUE, RED, write


def test_no_file_stops_the_contest_for_the_others(folder, monkeypatch):
    deep = "[" * 900 + "]" * 900
    path = write(folder, "deep", RED | {"team": "Deep"})
    path.write_text('{"team": "Deep", "side": "red", "attack": {"craft_decays": ' + deep + "}}")
    write(folder, "list", RED | {"side": []})
    write(folder, "fails", RED | {"team": "Fails"})

    def read(path, limits, whole=module.read_submission):
        if path.name == "fails.json":
            raise RecursionError("too deep")
        return whole(path, limits)

    monkeypatch.setattr(module, "read_submission", read)
    found = open_contest(folder)
    assert {t.team for t in found.teams} == {"Foxes", "Hedgehogs"}
    assert found.refused == {
        "deep.json": "it is nested too deeply",
        "list.json": "side must be red or blue, not a list",
        "fails.json": "it can't be read: RecursionError: too deep",
    }


def test_files_without_end_shut_nobody_out(folder, monkeypatch):
    for number in range(TEAMS + 1):
        write(folder, f"0-{number}", {})
    found = open_contest(folder)
    assert {t.team for t in found.teams} == {"Foxes", "Hedgehogs"}
    assert len(found.refused) == TEAMS + 1
    monkeypatch.setattr("mpkit.contest.contest.TEAMS", 1)
    assert open_contest(folder).refused["hedgehogs.json"] == "there are more than 1 submissions"


def test_after_the_draw_only_those_are_read_that_were_there(folder):
    write(folder, "wolves", RED | {"team": "Wolves", "attack": {"epsilon": 1}})
    before = drawn(open_contest(folder), 5).refused
    write(folder, "late", RED | {"team": "Foxes"})
    (folder / "submissions" / "hedgehogs.json").unlink()
    found = open_contest(folder)
    assert [t.team for t in found.teams] == ["Foxes"]
    late = {"late.json": AFTER, "hedgehogs.json": GONE}
    assert found.refused == before | late


def test_a_draw_that_has_the_start_of_a_digest_opens(folder):
    drawn(open_contest(folder), 5)
    path = folder / "round.json"
    row = json.loads(path.read_text("utf-8"))
    del row["check"], row["refused"]
    assert {len(digest) for digest in row["teams"].values()} == {64}
    row["teams"] = {name: digest[:16] for name, digest in row["teams"].items()}
    path.write_text(json.dumps(sealed(row)), "utf-8")
    assert len(open_contest(folder).teams) == 2
    write(folder, "foxes", RED | {"note": "another"})
    assert open_contest(folder).refused == {"foxes.json": AFTER}


def test_who_looked_before_the_draw_draws_no_second_one(folder, here):
    first, second = open_contest(folder), open_contest(folder)
    write(folder, "bears", BLUE | {"team": "Bears"})
    found = list(play(first))
    before = (folder / "round.json").read_bytes()
    assert list(play(first)) == list(play(second)) == []
    assert drawn(second).draw == open_contest(folder).draw
    assert (folder / "round.json").read_bytes() == before
    assert "Bears" in {r.get("blue") for r in found}
    with pytest.raises(ValueError, match="that is final"):
        drawn(second, drawn(second).draw["seed"] + 1)


def test_of_two_that_draw_at_once_one_is_refused(folder, monkeypatch):
    """Also where the file system knows no locks, and both have seen that nothing was drawn."""
    monkeypatch.setattr(module, "_alone", lambda _: contextlib.nullcontext())
    first, second = open_contest(folder), open_contest(folder)

    def meanwhile(limits, seed, whole=module._targets):
        monkeypatch.setattr(module, "_targets", whole)
        drawn(first, 5)
        return whole(limits, seed)

    monkeypatch.setattr(module, "_targets", meanwhile)
    with pytest.raises(ValueError, match="another mpkit drew meanwhile"):
        drawn(second, 6)
    assert drawn(open_contest(folder)).draw["seed"] == 5


def test_results_without_their_draw_are_not_mixed_with_others(folder, here):
    list(play(open_contest(folder)))
    (folder / "round.json").unlink()
    for again in (drawn, lambda contest: list(play(contest))):
        with pytest.raises(ValueError, match=r"has results, and no round.json"):
            again(open_contest(folder))
    assert not (folder / "round.json").exists()


@pytest.mark.parametrize("seed", [-1, LARGEST + 1, 10**24])
def test_a_seed_that_no_file_can_hold_draws_nothing(folder, seed):
    with pytest.raises(ValueError, match=f"must lie between 0 and {LARGEST}, not "):
        drawn(open_contest(folder), seed)
    assert not (folder / "round.json").exists()


def test_the_largest_seed_is_one(folder):
    assert drawn(open_contest(folder), LARGEST).draw == open_contest(folder).draw


@pytest.mark.parametrize("name", ["Foxes ", "Foxes \u200b", "foxes", "Ｆoxes", "Fo\u200bxes"])
def test_one_name_is_one_team_however_it_is_written(folder, name):
    write(folder, "aaa", RED | {"team": name})
    found = open_contest(folder)
    assert [t.team for t in found.teams] == ["Hedgehogs"]
    for file in ("aaa.json", "foxes.json"):
        assert "aaa.json and foxes.json hand in for one team" in found.refused[file]


@pytest.mark.parametrize("name", ["हिन्दी", "E\u0301cureuils", "Füchse 2"])
def test_names_of_every_script_are_names(folder, name):
    write(folder, "foxes", RED | {"team": name})
    assert len(open_contest(folder).side("red")) == 1
