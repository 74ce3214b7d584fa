"""The page and the marking sheet: all that was counted, and nothing that anybody smuggles in."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from mpkit.contest.contest import drawn, open_contest, play
from mpkit.contest.pictures import Poisons
from mpkit.contest.report import CRITERIA, marking, pairs_table, report, write_report
from tests.contest.conftest import BLUE, LIMITS, RED, write
from tests.contest.test_score import ROWS as ALL

ROWS = [row for row in ALL if row.get("blue") != "Bears"]


class Reader(HTMLParser):
    """The words of a page, its tags, and the attributes that lead elsewhere."""

    def __init__(self, text: str):
        super().__init__()
        self.words, self.tags, self.links = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data.strip())


@pytest.fixture
def contest(folder):
    note = 'We <script>alert("x")</script> know\nthe victim\'s network.'
    write(folder, "foxes", RED | {"note": note})
    write(folder, "=cmd", RED | {"attack": {"epsilon": 1}})
    return open_contest(folder)


def test_the_page_says_who_won_and_why(contest):
    page = Reader(report(contest, ROWS))
    said = " ".join(page.words)
    assert "1/8 = 12% (95 % interval" in said
    assert "accuracy 90.0%" in said
    assert "epsilon 1 is over the limit of 0.102" in said
    assert "jpeg, jpeg_quality 30" in said
    assert "4.0%" in page.words  # the price


def test_the_page_fetches_and_runs_nothing(contest):
    text = report(contest, ROWS)
    page = Reader(text)
    assert not page.links
    assert "script" not in page.tags
    assert "default-src 'none'" in text
    assert '<script>alert("x")' in "".join(page.words)


def test_the_marking_sheet_has_the_kits_points_and_room_for_the_teachers(contest):
    rows = list(csv.DictReader(io.StringIO(marking(contest, ROWS))))
    by = {(r["team"], r["criterion"]): r for r in rows}
    assert by["Foxes", "limits kept"]["points"] == "10"
    assert by["Foxes", "poisons that work"]["points"] == str(round(30 * 1 / 8))
    assert by["Hedgehogs", "victims that hold"]["points"] == str(round(30 * (1 - 1 / 8 - 0.02)))
    assert by["Foxes", "threat model"]["points"] == ""
    assert "know" in by["Foxes", "threat model"]["seen"]
    assert by["'=cmd.json", "limits kept"]["points"] == "0"
    for team in ("Foxes", "Hedgehogs"):
        assert sum(int(r["of"]) for r in rows if r["team"] == team) == 100


def test_no_cell_is_a_formula(contest):
    for row in csv.reader(io.StringIO(marking(contest, ROWS))):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_no_note_and_no_name_prevents_the_marking_sheet(folder):
    write(folder, "foxes", RED | {"note": "x \ud800 y\u202e;=1+1, +2 ＝3\n-4, -5"})
    path = write(folder, "zebras", {})
    path.rename(path.with_name("zebras \udce9.json"))
    page, sheet = write_report(open_contest(folder))
    assert "zebras" in page.read_text("utf-8")
    rows = csv.DictReader(io.StringIO(sheet.read_text("utf-8-sig")))
    assert "x y;'=1+1, '+2 ＝3 -4, '-5" in [r["seen"] for r in rows]


@pytest.mark.parametrize("start", ["", "ours;", "ours; ", "ours,", "ours,\t", "\n"])
@pytest.mark.parametrize("sign", "=+-@＝＋－＠")
def test_a_formula_is_text_whatever_parts_the_cells(folder, start, sign):
    write(folder, "foxes", RED | {"note": f"{start}{sign}1+1"})
    assert f"'{sign}1+1" in marking(open_contest(folder), ROWS)


def test_the_allowance_is_told_as_it_counts(folder):
    write(folder, "limits", LIMITS | {"allowance": 0.025})
    assert "costs beyond 2.5%" in report(open_contest(folder), ROWS)


def test_a_team_on_both_sides_has_both_its_notes(folder):
    write(folder, "foxes", RED | {"team": "Both", "note": "red thoughts"})
    write(folder, "hedgehogs", BLUE | {"team": "Both", "note": "blue thoughts"})
    page = Reader(report(open_contest(folder), []))
    assert {"red thoughts", "blue thoughts"} <= set(page.words)


def test_what_a_team_that_lost_had_counted_is_not_shown(contest):
    lost = [*ROWS, {"blue": "Hedgehogs", "lost": "it took longer"}]
    cells = Reader(pairs_table(contest, lost)).words
    assert cells.count("lost") == 2  # of clean pictures, and of the Foxes'
    assert "accuracy 94.0%" in cells
    lost = [*ROWS, {"red": "Foxes", "lost": "it took longer"}]
    assert Reader(pairs_table(contest, lost)).words.count("lost") == 2


def test_that_a_target_was_known_is_said(contest):
    assert "was known beforehand" not in report(contest, ROWS)
    foxes = replace(contest.side("red")[0], poisons=Poisons(torch.zeros(2), torch.zeros(2)))
    known = replace(contest, teams=(contest.side("blue")[0], foxes))
    assert "pictures made elsewhere (Foxes) was known beforehand" in report(known, ROWS)


def test_the_criteria_are_of_either_side():
    rows = list(csv.DictReader(CRITERIA.read_text("utf-8").splitlines()))
    assert {r["side"] for r in rows} == {"both", "red", "blue"}
    assert {r["by"] for r in rows} == {"kit", "teacher"}


def test_both_are_written_into_the_folder(folder, here):
    contest = drawn(open_contest(folder), 5)
    list(play(contest))
    page, sheet = write_report(contest)
    assert {page.parent, sheet.parent} == {folder}
    assert "Foxes" in page.read_text("utf-8")
    assert sheet.read_text("utf-8-sig").startswith("team,side,criterion")
    assert str(contest.draw["seed"]) in page.read_text("utf-8")
