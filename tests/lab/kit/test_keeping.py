"""What outlives a run: kept curves, and codes that are taken or not."""

from __future__ import annotations

from mpkit.lab import UnrollLab
from tests.lab.conftest import crafted, finished, press, said


def test_two_runs_can_be_kept_and_the_last_is_a_ghost(lab, until):
    tools = lab.panel.children[-1].children[0].children[0].children
    name, keep = tools[0], tools[1]
    keep.click()
    assert "nothing to keep" in said(lab)
    first = crafted(lab, until)
    for label in ("one", "two", "three"):
        name.value = label
        keep.click()
    assert [line.label for line in lab.named] == ["two", "three"]
    press(lab, "reset")
    shown = [artist.get_label() for artist in lab.view.losses.kept]
    assert shown == ["last run", "two", "three"]
    assert list(lab.view.losses.kept[0].get_ydata()) == first


def test_a_code_is_taken_before_a_run_only_and_a_bad_one_changes_nothing(unroll, until):
    lab, code = unroll(), UnrollLab(seed=3).code()
    before = lab.code()
    lab._use(code[:-1])
    assert "damaged or cut off" in said(lab)
    assert lab.code() == before
    lab._use(code)
    assert lab.knobs().seed == 3
    lab.moves = 2
    finished(lab, until)
    lab._use(before)
    assert "↺ first" in said(lab)
    assert lab.code() == code
