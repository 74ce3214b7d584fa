"""The target's picker without a browser: order, presses, what is on demand and in a thread."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from mpkit.evaluation import margins
from mpkit.evaluation.margins import clean_margins, known_margins
from mpkit.evaluation.targets import THIRDS, Margins, default_target
from mpkit.lab import CraftLab, VictimsLab
from mpkit.lab.kit.runner import Phase
from mpkit.lab.target_picker import PER_PAGE
from mpkit.runs.prepared import clean_setup
from mpkit.runs.record import read_json
from mpkit.runs.saved import from_dict
from tests.lab.conftest import said

LEARNT = {"noise": 0, "epochs": 10, "lr": 0.2, "n_test": 200, "victim_epochs": 10}

RULE = {"target_index": None}

pytestmark = pytest.mark.usefixtures("nothing_known", "unpainted")


@pytest.fixture
def held(monkeypatch):
    """Clean models train only when this is set."""
    gate, compute = threading.Event(), margins.compute_margins

    def waits(*given):
        gate.wait(60)
        return compute(*given)

    monkeypatch.setattr(margins, "compute_margins", waits)
    yield gate
    gate.set()


def names(row) -> list[str]:
    return row.thumbs.row.captions


def picked(picker) -> list[str]:
    rows = [row.thumbs.row for row in picker.rows.values()]
    return [row.names[row.picked] for row in rows if row.picked >= 0]


def found(lab):
    s = lab.scenario
    return known_margins(clean_setup(lab.attack, s)).targets(
        int(s.target_labels[0]), int(s.adversarial[0])
    )


def test_nothing_is_made_or_trained_until_it_is_looked_at(small, held):
    lab = small(CraftLab, **LEARNT)
    assert lab.picker.rows == {}
    assert not lab.picker.opener.value
    lab.picker.opener.value = True
    (row,) = lab.picker.rows.values()
    assert "plain order" in row.label
    assert names(row) == [str(i) for i in range(PER_PAGE)]
    assert "not known yet" in lab.picker.status.value
    assert not lab.picker.sort.disabled


def test_sorting_happens_in_a_thread_and_leaves_thirds(small, held, until):
    lab = small(CraftLab, **LEARNT)
    lab.picker.opener.value = True
    lab.picker.sort.click()
    assert lab.picker.sort.disabled
    lab.transport.buttons["step"].click()  # meanwhile the lab goes on
    until(lambda: lab.runner.phase is Phase.PAUSED)
    assert len(lab.picker.rows) == 1
    held.set()
    until(lambda: len(lab.picker.rows) == 3)
    assert list(lab.picker.rows) == list(THIRDS)
    for third, row in lab.picker.rows.items():
        mine = [t for t in found(lab) if t.third == third]
        assert row.targets == mine
        assert third in row.label
        pages = []
        while not row.turns[0].disabled:
            row.turns[0].click()
        while True:
            pages += names(row)
            assert len(names(row)) <= PER_PAGE
            if row.turns[1].disabled:
                break
            row.turns[1].click()
        assert pages == [f"{t.margin:.1f}" for t in mine]


def opened(small, **given) -> CraftLab:
    """A lab whose pictures are sorted."""
    lab = small(CraftLab, **LEARNT | given)
    clean_margins(clean_setup(lab.attack, lab.scenario))
    lab.picker.opener.value = True
    assert list(lab.picker.rows) == list(THIRDS)
    return lab


def test_a_press_takes_another_target_at_once_or_after_the_reset(small, until):
    lab = opened(small)
    far = lab.picker.rows["far"]
    place = 1
    far.thumbs.row.press(place)
    wanted = far.targets[far.page * PER_PAGE + place]
    assert lab.attack.target_index == (wanted.index,)
    assert lab.scenario.target_rows == (wanted.row,)
    (told,) = picked(lab.picker)
    assert told == f"test picture {wanted.index}: {wanted}"
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    near = lab.picker.rows["near"].targets[0]
    lab.picker.rows["near"].thumbs.row.press(0)
    assert "After reset" in said(lab)
    assert lab.scenario.target_rows == (wanted.row,), "the run has its own"
    lab.transport.buttons["reset"].click()
    assert lab.scenario.target_rows == (near.row,)
    assert len(picked(lab.picker)) == 1


def test_what_is_refused_is_said_and_not_marked(small, monkeypatch):
    lab = opened(small)
    before = picked(lab.picker)

    def refuse(index):
        raise ValueError("not this one")

    monkeypatch.setattr(lab.picker, "picked", refuse)
    lab.picker.rows["far"].thumbs.row.press(0)
    assert "not this one" in said(lab)
    assert picked(lab.picker) == before


def test_showing_what_is_in_force_presses_nothing(small, monkeypatch):
    lab = opened(small)
    monkeypatch.setattr(lab.picker, "picked", None)
    lab.picker.show(lab.attack, lab.scenario)
    lab.picker.rows["near"].turns[1].click()
    lab.picker.rows["near"].open_at(lab.picker.rows["near"].targets[-1].index)


# ── the target by the rule ──────────────────────────────────────────────────────────────────────


def test_a_lab_opens_at_once_and_then_finds_its_target(small, held, until):
    lab = small(CraftLab, **LEARNT | RULE)
    assert lab.attack.target_index is None
    assert "until clean models have found" in lab.message.value
    held.set()
    until(lambda: lab.attack.target_index is not None)
    until(lambda: "until" not in lab.message.value)
    wanted = default_target(found(lab), "1", "7")
    assert lab.attack.target_index == (wanted.index,)
    assert lab.scenario.target_rows == (wanted.row,)
    assert lab.runner.phase is Phase.READY


def test_a_run_waits_for_its_target(small, held, until):
    lab = small(CraftLab, **LEARNT | RULE)
    lab.transport.buttons["run"].click()
    held.set()
    until(lambda: lab.runner.phase.ended)
    assert lab.runner.error is None
    wanted = default_target(found(lab), "1", "7")
    assert lab.ready.scenario.target_rows == (wanted.row,) == lab.scenario.target_rows
    again = small(CraftLab, **LEARNT | RULE)  # known now: at once
    assert again.attack.target_index == (wanted.index,)


def test_in_one_go_the_target_is_the_same(small, monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    lab = small(CraftLab, **LEARNT | RULE)
    lab.runner.run()
    assert lab.runner.error is None
    assert lab.attack.target_index == (default_target(found(lab), "1", "7").index,)


def test_another_class_takes_a_target_by_the_rule(small):
    lab = opened(small, target_index=(3,))
    lab.controls["target_class"].row.press(1)  # of the poison class: refused
    assert lab.attack.target_index == (3,)
    lab.use_code(lab.code())
    assert lab.attack.target_index == (3,)
    with_7 = small(CraftLab, **LEARNT, target_class="7", poison_class="1", target_index=None)
    assert with_7.attack.target_index == (default_target(found(with_7), "7", "1").index,)


def test_no_target_is_said_in_the_panel(small, until, monkeypatch):
    def none(clean, *_):
        shape = len(clean.test), len(clean.test.classes)
        return Margins(torch.ones(shape), torch.zeros(shape).long(), clean.test.y)

    monkeypatch.setattr(margins, "compute_margins", none)
    lab = small(CraftLab, **LEARNT | RULE)
    lab.transport.buttons["run"].click()
    until(lambda: lab.runner.phase is Phase.FAILED or lab.runner.phase is Phase.READY)
    until(lambda: "--target-index" in lab.message.value)
    assert not lab.records


def test_a_closed_lab_trains_no_more(small, held):
    lab = small(CraftLab, **LEARNT | RULE)
    setup = clean_setup(lab.attack, lab.scenario)
    lab.close()
    held.set()
    for thread in threading.enumerate():
        if thread.name == "mpkit margins":
            thread.join(30)
    assert known_margins(setup) is None


# ── kept and shared ─────────────────────────────────────────────────────────────────────────────


def test_a_saved_run_names_its_target(small, until, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab = opened(small)
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    saved = read_json(lab.save() / "settings.json")
    assert from_dict(saved["attack"]).target_index == lab.attack.target_index
    (told,) = saved["targets"]
    assert told["row"] == lab.scenario.target_rows[0]


def test_old_codes_mean_the_first_picture(small):
    lab = small(CraftLab, **LEARNT)
    old = lab.code()  # names no target: it is the first
    other = small(CraftLab, **LEARNT | {"target_index": (5,)})
    other.use_code(old)
    assert other.attack.target_index == (0,)
    for index in ((5,), (2, 1)):
        lab.attack = dataclasses.replace(lab.attack, target_index=index)
        other.use_code(lab.code())
        assert other.attack.target_index == index


def test_victims_with_another_network_keep_their_target(small):
    lab = small(VictimsLab, **LEARNT | RULE)
    row = lab.source.scenario.target_rows
    index = lab.attack.target_index
    assert index is not None
    lab.later(network="convnet")
    assert (lab.source.scenario.target_rows, lab.attack.target_index) == (row, index)
    assert not lab.source.refresh()
