"""What one defense was worth."""

from __future__ import annotations

import dataclasses

import pytest

from mpkit.defenses.defended import Screening
from mpkit.defenses.defense import Defense
from mpkit.evaluation.records import VictimRecord
from mpkit.lab import defense_judged
from mpkit.lab.defense_judged import ARMS, Judged, among, judged
from mpkit.runs.prepared import prepare
from tests.lab.conftest import small_attack

pytestmark = pytest.mark.usefixtures("unpainted")


def record(arm: str, victim: int, won: bool, accuracy: float = 0.9) -> VictimRecord:
    return VictimRecord(arm, victim, (1,), (won,), (0.5,), (0.5,), accuracy)


@pytest.fixture
def ready():
    return prepare(small_attack(), progress=False)


def test_numbers_and_words():
    records = [record("poisoned", 0, True), record("poisoned", 1, False, 0.5)]
    records += [record("clean", 0, False, 0.8), record("clean", 1, False, 0.6)]
    screenings = {"poisoned": Screening(10, 7, 90, 3), "clean": Screening(0, 0, 100, 9)}
    found = Judged("loss", tuple(records), screenings)
    assert (found.rate().successes, found.rate("clean").successes) == (1, 0)
    assert found.accuracy == pytest.approx(0.7)
    assert (found.kind, found.count) == ("filter", "1 of 2")
    told = "caught 7 of 10 poisons and lost 3 of 90 innocents; from clean data it would remove 9 of"
    assert told in found.words
    assert "accuracy 70.0%" in found.words
    assert Judged("jpeg", tuple(records)).removed == ""
    assert "not here, as so it is" in Judged("jpeg", refused="so it is").words


def test_what_a_filter_threw_out_comes_with_the_most_suspicious_first(ready):
    bases = (255 * ready.scenario.base_images).byte()
    arms = ready.arms(bases, ARMS)
    found = judged(ready, arms, Defense(defense="loss", suspected=0.2), 0, None)
    assert [(r.arm, r.victim) for r in found.records] == [(arm, v) for arm in ARMS for v in (0, 1)]
    assert len(found.rows) == len(found.pictures) == len(found.labels)
    counted = found.screenings["poisoned"]
    poisons = set(ready.scenario.bases.tolist())
    assert sum(row in poisons for row in found.rows.tolist()) == counted.caught
    assert len(found.rows) == counted.caught + counted.lost
    kept = defense_judged.screened(
        ready.victim_network,
        ready.attack.victim_recipe,
        arms,
        defense=Defense(defense="loss", suspected=0.2),
        seed=0,
        plan=ready.victim_plan,
    )
    scores = kept["poisoned"].scores[found.rows]
    assert (scores[:-1] >= scores[1:]).all()


def test_votes_come_with_the_share_that_no_changed_picture_can_change(ready):
    arms = ready.arms((255 * ready.scenario.base_images).byte(), ARMS)
    found = judged(ready, arms, Defense(defense="partition", parts=5), 0, None)
    assert found.rows is None
    assert len(found.certified) == 3
    assert 1 >= found.certified[0] >= found.certified[1] >= found.certified[2] == 0
    assert "certified against one changed picture" in found.words


def test_a_defense_that_cannot_be_had_says_why_and_stops_nobody(ready, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("batch norm has no gradient of one picture")

    monkeypatch.setattr(defense_judged, "defended_victims", refuse)
    found = judged(ready, ready.arms(ready.scenario.base_images, ()), Defense(), 0, None)
    assert found == dataclasses.replace(Judged("none"), refused=found.refused)
    assert "batch norm" in found.words


def test_names_are_put_into_the_usual_order():
    assert among(["jpeg", "none"]) == ("none", "jpeg")
    with pytest.raises(ValueError, match=r"'prayer' is unknown; there are: none"):
        among(["prayer"])
