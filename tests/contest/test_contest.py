"""A contest: the draw is final, nobody's loss is another's, and it goes on where it was."""

from __future__ import annotations

import itertools
import json

import pytest

from mpkit.contest import contest as module
from mpkit.contest import worker
from mpkit.contest.apart import Fault, Killed, Lost
from mpkit.contest.contest import drawn, lost_of, open_contest, play
from mpkit.data import files
from mpkit.data.schema import sealed, unsealed
from tests.contest.conftest import BLUE, LIMITS, RED, at_once, write


def test_what_was_handed_in_is_accepted_or_refused(folder):
    write(folder, "wolves", RED | {"team": "Wolves", "attack": {"epsilon": 1}})
    write(folder, "zebras", RED | {"team": "FOXES"})
    found = open_contest(folder)
    assert [(t.side, t.team) for t in found.teams] == [("blue", "Hedgehogs")]
    assert found.refused["wolves.json"].startswith("epsilon 1 is over the limit")
    both = "foxes.json and zebras.json hand in for one team, red: leave one"
    assert found.refused["foxes.json"] == found.refused["zebras.json"] == both


def test_a_folder_without_limits_is_no_contest(tmp_path):
    with pytest.raises(ValueError, match="is no contest: it has no limits"):
        open_contest(tmp_path)
    write(tmp_path, "limits", {"budget": 2})
    with pytest.raises(ValueError, match=r"limits.json: budget must"):
        open_contest(tmp_path)


def test_without_a_team_nothing_is_drawn(tmp_path):
    write(tmp_path, "limits", LIMITS)
    write(tmp_path, "wolves", RED | {"attack": {"epsilon": 1}})
    with pytest.raises(ValueError, match=r"has no submission to play with. wolves.json: epsilon"):
        drawn(open_contest(tmp_path))
    assert not (tmp_path / "round.json").exists()


def test_a_draw_of_an_earlier_mpkit_holds(folder):
    drawn(open_contest(folder), 5)
    path = folder / "round.json"
    draw = unsealed(json.loads(path.read_text(encoding="utf-8")))
    del draw["ground"]["attack"]["bases"]  # a setting that came later
    path.write_text(json.dumps(sealed(draw)), encoding="utf-8")
    assert open_contest(folder).draw["targets"] == draw["targets"]
    draw["ground"]["attack"]["bases"] = "nearest"
    path.write_text(json.dumps(sealed(draw)), encoding="utf-8")
    with pytest.raises(ValueError, match="are other ones than at the draw"):
        open_contest(folder)
    draw["ground"] = {"attack": 3}
    path.write_text(json.dumps(sealed(draw)), encoding="utf-8")
    with pytest.raises(ValueError, match="are other ones than at the draw"):
        open_contest(folder)


def test_the_draw_is_final(folder):
    first = drawn(open_contest(folder), 5)
    assert len(first.draw["targets"]) == 2
    assert drawn(open_contest(folder)).draw["targets"] == first.draw["targets"]
    with pytest.raises(ValueError, match="were drawn before, by seed 5; that is final"):
        drawn(open_contest(folder), 6)
    write(folder, "foxes", RED | {"attack": {"craft_steps": 2}})
    write(folder, "late", RED | {"team": "Late"})
    again = open_contest(folder)
    assert [t.team for t in again.teams] == ["Hedgehogs"]
    assert set(again.refused) == {"foxes.json", "late.json"}
    assert "after the targets were drawn" in again.refused["late.json"]
    write(folder, "limits", LIMITS | {"victims": 3})
    with pytest.raises(ValueError, match="are other ones than at the draw"):
        open_contest(folder)


def test_nobody_can_foretell_a_draw_without_a_seed(folder):
    seeds = set()
    for _ in range(3):
        seeds.add(drawn(open_contest(folder)).draw["seed"])
        (folder / "round.json").unlink()
    assert len(seeds) == 3


def test_targets_are_such_as_clean_models_read_rightly(folder):
    write(folder, "limits", LIMITS | {"targets": 100})
    contest = drawn(open_contest(folder), 1)
    targets = [tuple(t) for t in contest.draw["targets"]]
    assert len(set(targets)) == 100
    assert all(a != b for a, b, _ in targets)


def rows(contest):
    return sorted(
        (str(r.get("red")), str(r.get("blue", "poisons")), r.get("target"))
        for r in contest.results()
    )


def test_every_pair_is_played_and_each_once(folder, here):
    contest = drawn(open_contest(folder), 5)
    found = list(play(contest))
    expected = [(r, b, t) for t in (0, 1) for r in ("None", "Foxes") for b in ("None", "Hedgehogs")]
    expected += [("Foxes", "poisons", t) for t in (0, 1)]
    assert rows(contest) == sorted(expected)
    assert len(found) == contest.total() == 10
    assert list(play(contest)) == []
    assert all(r["n"] == 2 for r in found if "n" in r)


def test_a_round_that_was_stopped_goes_on_to_the_same_result(folder, here):
    contest = drawn(open_contest(folder), 5)
    whole = [_bare(row) for row in play(contest)]
    (folder / "results.jsonl").unlink()
    for count in (1, 3, 2, 10):
        going = play(open_contest(folder))
        for _, _ in zip(range(count), going, strict=False):
            pass
        going.close()
    found = [_bare(r) for r in open_contest(folder).results()]
    assert sorted(map(str, found)) == sorted(map(str, whole))


def _bare(row: dict) -> dict:
    return {k: v for k, v in row.items() if k != "seconds"}


def test_who_fails_loses_a_round_and_nobody_else_does(folder, monkeypatch):
    write(folder, "snails", RED | {"team": "Snails", "attack": {"craft_steps": 3}})
    write(folder, "bears", BLUE | {"team": "Bears", "defense": {"defense": "loss"}})

    def some_fail(job, seconds):
        if job["what"] == "craft" and job["targets"][0][1]["settings"]["craft_steps"] == 3:
            yield from at_once(job | {"targets": job["targets"][:1]}, seconds)
            raise Lost("it took longer")
        if job["what"] == "judge" and job["defense"] and job["defense"]["defense"] == "loss":
            raise Lost("it failed")
        yield from at_once(job, seconds)

    monkeypatch.setattr(module, "answers", some_fail)
    contest = drawn(open_contest(folder), 5)
    found = list(play(contest))
    assert {r.get("red") or r.get("blue") for r in found if "lost" in r} == {"Snails", "Bears"}
    judged = [r for r in found if "n" in r]
    assert {r["red"] for r in judged} == {None, "Foxes"}
    assert {r["blue"] for r in judged} == {None, "Hedgehogs"}
    assert len(judged) == 2 * 2 * 2
    assert list(play(contest)) == []  # a lost round is not tried again


@pytest.mark.parametrize("times", [1, 2])
def test_what_the_system_kills_runs_once_more_and_then_is_lost(folder, monkeypatch, times):
    """As for its memory: it may have been others that took it."""
    asked = []

    def killed(job, seconds):
        if job["what"] == "judge" and job["defense"]:
            asked.append(len(job["targets"]))
            if len(asked) <= times:
                yield from itertools.islice(at_once(job, seconds), 2)  # the first target's
                raise Killed("the system killed it")
        yield from at_once(job, seconds)

    monkeypatch.setattr(module, "answers", killed)
    contest = drawn(open_contest(folder), 5)
    list(play(contest))
    assert asked == [2, 1]  # and not again what was done
    assert lost_of(contest.results()) == (
        {("blue", "Hedgehogs"): "the system killed it"} if times == 2 else {}
    )


@pytest.mark.parametrize("missing", ["poisons", "prepare"])
def test_what_no_team_can_help_is_recorded_for_nobody(folder, here, monkeypatch, missing):
    contest = drawn(open_contest(folder), 5)
    going = play(contest)
    for row in going:
        if row.get("blue", "") is None:
            break
    going.close()
    if missing == "poisons":
        (folder / "poisons").rename(folder / "elsewhere")
    else:
        monkeypatch.setattr(worker, "prepare", lambda *_, **__: 1 / 0)
    with pytest.raises(Fault, match="by no team's fault"):
        list(play(contest))
    assert not [row for row in contest.results() if "lost" in row]
    if missing == "poisons":
        (folder / "elsewhere").rename(folder / "poisons")
    else:
        monkeypatch.undo()
        monkeypatch.setattr(module, "answers", at_once)
    list(play(contest))
    assert len(contest.results()) == contest.total()


def test_where_nobody_defends_and_all_fails_the_machine_is_to_blame(folder, monkeypatch):
    def fail(job, seconds):
        if job["what"] == "judge":
            raise Lost("no room")
        yield from at_once(job, seconds)

    monkeypatch.setattr(module, "answers", fail)
    with pytest.raises(ValueError, match="victims without a defense can't be trained: no room"):
        list(play(drawn(open_contest(folder), 5)))


def test_two_at_once_are_refused(folder, here):
    contest = drawn(open_contest(folder), 5)
    going = play(contest)
    next(going)
    with pytest.raises(files.Busy, match="is in use by another"):
        next(play(contest))


def test_pictures_made_elsewhere_meet_the_named_target_alone(folder, here):
    named = {"target_class": "1", "poison_class": "7", "target_index": 0}
    write(folder, "limits", LIMITS | {"named": named})
    write(folder, "owls", {"team": "Owls", "side": "red", "pictures": "owls"})
    first = drawn(open_contest(folder), 5)
    assert "owls.json" in first.refused  # they are not there yet
    (folder / "round.json").unlink()
    list(play(drawn(open_contest(folder), 5)))
    (folder / "results.jsonl").unlink()
    (folder / "round.json").unlink()
    made = folder / "poisons" / "Foxes-0"
    made.rename(folder / "submissions" / "owls")
    contest = drawn(open_contest(folder), 6)
    found = list(play(contest))
    assert len(found) == contest.total()
    assert {r["target"] for r in found if r.get("red") == "Owls"} == {2}
    assert {r["target"] for r in found if r.get("red") == "Foxes"} == {0, 1}
    assert {r["target"] for r in found if "n" in r and r["red"] is None} == {0, 1, 2}
    attack = contest.attack(2)
    assert (attack.target_class, attack.poison_class, attack.target_index) == ("1", "7", (0,))


def test_damaged_results_are_named(folder, here):
    contest = drawn(open_contest(folder), 5)
    list(play(contest))
    path = folder / "results.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[-1]) | {"successes": 0 if json.loads(lines[-1])["successes"] else 2}
    path.write_text("\n".join([*lines[:-1], json.dumps(row)]) + "\n")
    with pytest.raises(ValueError, match="was changed since it was written"):
        contest.results()
