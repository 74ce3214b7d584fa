"""The pictures that a filter throws away."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mpkit.defenses.defended import Screening
from mpkit.lab.defense_judged import Judged
from mpkit.lab.defense_thrown import PAGE, SIZE, Thrown
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import small_attack

pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.fixture
def scenario():
    return load_scenario(small_attack(), progress=False)


@pytest.fixture
def found(scenario):
    poisons = scenario.bases.tolist()
    innocents = [row for row in range(len(scenario.train)) if row not in poisons][:14]
    rows = torch.tensor([poisons[0], *innocents])
    screenings = {"poisoned": Screening(6, 1, 54, 14), "clean": Screening(0, 0, 60, 12)}
    pictures = (255 * scenario.train.x[rows]).byte()
    given = {"rows": rows, "pictures": pictures, "labels": scenario.train.y[rows]}
    return Judged("loss", (), screenings, **given)


def test_poisons_are_told_from_innocents_in_words_and_by_a_frame(scenario, found):
    thrown = Thrown(lambda _: None)
    thrown.show(scenario, found, "")
    assert SIZE >= 96
    assert "caught 1 of 6 poisons" in thrown.words.value
    kind = scenario.train.classes[int(found.labels[0])]
    assert thrown.row.captions[0] == f"POISON\n{kind}"
    assert thrown.row.names[0] == f"thrown away as number 1: a poison, labelled {kind}"
    assert all(caption.startswith("innocent") for caption in thrown.row.captions[1:])
    assert thrown.row.framed == [True] + [False] * (PAGE - 1)
    first = np.frombuffer(thrown.row.pixels, np.uint8)[: found.pictures[0].numel()]
    assert first.tolist() == found.pictures[0].flatten().tolist()


def test_there_are_pages_and_another_defense_begins_at_the_first(scenario, found):
    thrown = Thrown(lambda _: None)
    thrown.show(scenario, found, "")
    thrown.page.box.value = 2
    assert len(thrown.row.captions) == len(found.rows) - PAGE
    assert thrown.row.names[0].startswith(f"thrown away as number {PAGE + 1}")
    thrown.show(scenario, found, "")
    assert thrown.page.value == 2  # a later frame of the same
    thrown.show(scenario, dataclasses.replace(found), "")
    assert thrown.page.value == 1


@pytest.mark.parametrize(
    ("judged", "name", "words"),
    [
        (None, "", "Here will be"),
        (None, "none", "Without a defense nothing"),
        (Judged("jpeg"), "jpeg", "jpeg throws nothing away"),
        (Judged("jpeg", refused="batch norm"), "jpeg", "jpeg cannot be had here: batch norm"),
    ],
)
def test_where_there_is_nothing_it_says_why(scenario, judged, name, words):
    thrown = Thrown(lambda _: None)
    thrown.show(scenario, judged, name)
    assert words in thrown.words.value
    assert thrown.row.layout.display == thrown.page.widget.layout.display == "none"
