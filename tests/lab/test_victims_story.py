"""What VictimsLab tells of its run."""

from __future__ import annotations

import dataclasses

import pytest

from mpkit.evaluation.records import ARMS
from mpkit.lab import CraftLab, ReplayLab, VictimsLab
from mpkit.runs.card import card
from mpkit.runs.page import page
from tests.lab.conftest import finished, said
from tests.lab.kit.test_tools import named


def test_a_failure_says_why_and_a_reset_takes_that_back(small, until):
    lab = small(VictimsLab, epsilon=1 / 255)
    assert "Why it failed" not in lab.describe() + said(lab)
    finished(lab, until)
    until(lambda: "Why it failed" in said(lab))
    assert lab.reason.startswith("Why it failed: ")
    assert lab.reason in said(lab).replace("&#x27;", "'")
    assert lab.describe().endswith(lab.reason)
    lab.transport.buttons["reset"].click()
    assert "Why it failed" not in lab.describe() + said(lab)


def test_there_is_nothing_to_tell_before_a_run(small):
    for kind in (VictimsLab, CraftLab):
        lab = small(kind)
        with pytest.raises(ValueError, match="nothing to tell yet"):
            lab.story()
        named(lab.panel, "Card").click()
        assert "nothing to tell yet" in said(lab)


def test_the_story_has_the_crafting_and_every_victim(small, until):
    lab = small(VictimsLab)
    finished(lab, until)
    told = lab.story()
    assert [r.step for r in told.steps] == [1, 2, 3, 4, 5, 6]
    assert [len([r for r in told.victims if r.arm == arm]) for arm in ARMS] == [2, 2, 2]
    assert (told.poisons == lab.batch.pictures).all()
    assert told.code == lab.code()
    assert not any(name == "share" for name, _ in told.settings)
    assert card(told).startswith(b"\x89PNG")
    assert page(told).startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("share", [0, 1, 50])
def test_a_share_of_the_change_is_told_and_shown(small, until, share):
    lab = small(VictimsLab)
    lab.later(share=share)
    finished(lab, until)
    told = lab.story()
    assert ("share", f"{share}% of these poisons' change") in told.settings
    change = (told.poisons.float() - 255 * told.scenario.base_images.cpu()).abs().max()
    most = (lab.batch.pictures.float() - 255 * told.scenario.base_images.cpu()).abs().max()
    assert change <= share / 100 * most + 0.51
    page(told)


def test_poisons_that_were_taken_out_are_told(small, until):
    lab = small(VictimsLab)
    finished(lab, until)
    lab.batch = dataclasses.replace(lab.batch, left_out=", without poison 3")
    assert ("share", "all, without poison 3") in lab.story().settings


def test_given_poisons_have_no_crafting_to_tell_of(small, until):
    crafted = small(CraftLab)
    finished(crafted, until)
    lab = small(VictimsLab, poisons=crafted.poisons())
    finished(lab, until)
    assert lab.story().steps == ()
    assert small(VictimsLab, crafted).source.look().batch.records[-1].step == 6
    page(lab.story())


def test_a_recorded_run_has_its_card_and_page_too():
    lab = ReplayLab()
    try:
        assert len(lab.story().steps) == len(lab.steps)
        named(lab.panel, "Page").click()
        row = named(lab.panel, "Page")
        assert not row.disabled
    finally:
        lab.close()
