"""Victims and surrogates that diverge: the labs say so, and draw what there is."""

from __future__ import annotations

import json

import pytest

from mpkit.evaluation.tally import success_rate
from mpkit.lab import CollisionLab, CompareLab, CraftLab, DynamicsLab, ReplayLab, VictimsLab
from mpkit.lab.kit.runner import Phase
from mpkit.lab.replay import RECORDED
from tests.lab.conftest import SMALL

# Class 0, which argmax calls what is no number, is the class that the attacker wants.
DIVERGING = SMALL | {
    "target_class": "7", "poison_class": "1", "craft_steps": 1, "victim_weight_decay": 1e4,
    "victim_epochs": 12,
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    monkeypatch.setenv("MPKIT_SCALE", "ci")


def done(lab):
    lab.runner.run()
    assert lab.runner.phase is Phase.DONE, lab.runner.error
    lab.canvas.draw()
    return lab.describe()


def test_victims_that_diverged_are_counted_apart():
    lab = VictimsLab(**DIVERGING)
    told = done(lab)
    assert told.count("0/2 = 0%") == told.count("2 diverged, accuracy –") == 3
    assert "nothing, as all diverged" in told
    assert lab.view.rows["poisoned"].words.get_text() == "0 of 2, 2 diverged"
    assert lab.curve() == ([1, 2], [0.0, 0.0])
    assert "nan" not in told


def test_so_they_are_where_settings_are_compared():
    variants = {"bad": {}, "good": {"victim_weight_decay": 0}}
    lab = CompareLab(variants, pairs=1, arms=("poisoned", "clean"), **DIVERGING)
    told = done(lab)
    assert told.count("0/2 = 0% (95 % interval 0% to 66%), 2 diverged, accuracy –") == 2
    assert [row.diverged for row in lab.rows()] == [2, 2, 0, 0]
    low, high = lab.view.levels.get_xlim()
    accuracies = [r.accuracy for row in lab.rows()[2:] for r in row.records]
    assert low <= min(accuracies) <= max(accuracies) <= high


def test_twins_that_diverged_are_drawn_as_far_as_they_went():
    lab = DynamicsLab(**DIVERGING)
    told = done(lab)
    assert "the clean twin has diverged; the poisoned twin has diverged" in told
    assert lab.records[-1].diverged == (True, True)
    assert lab.records[0].diverged == (False, False)


def test_a_victim_beside_the_crafting_may_diverge():
    lab = CraftLab(**DIVERGING)
    done(lab)
    lab.victim.start()
    assert lab.victim.runner.phase is Phase.DONE, lab.victim.runner.error
    assert "it has diverged; its clean twin's accuracy is –" in lab.victim.describe()


@pytest.mark.parametrize("kind", [CraftLab, VictimsLab, DynamicsLab])
def test_surrogates_that_diverge_end_the_run_with_a_reason(kind):
    lab = kind(**SMALL, lr=1e6)
    lab.runner.run()
    assert lab.runner.phase is Phase.FAILED
    assert "training diverged" in lab.message.value


@pytest.mark.parametrize("given", [{"victim_lr": 1e6}, {"victim_weight_decay": 1e4}])
def test_no_poison_is_called_anything_by_a_network_that_diverged(given):
    lab = CollisionLab(**SMALL, **given)
    lab.runner.run()
    assert lab.runner.phase is Phase.FAILED
    assert "the network&#x27;s training diverged: take a lower victim_lr" in lab.message.value
    assert "Nothing has run yet" in lab.describe()
    assert "calls the poison" not in lab.describe()


def test_batch_norm_is_told_by_both_statistics():
    lab = VictimsLab(**SMALL | {"network": "convnet-bn", "craft_steps": 1})
    assert done(lab).count("with batch norm by the statistics of the batch") == 3
    (record, *_) = lab.records
    found = success_rate([r.other_statistics for r in lab.records], "poisoned")
    under = lab.view.dots.get_xlabel()
    assert under.endswith(
        f" of the last 3 epochs; batch statistics: {found.successes} of {found.n}"
    )
    assert (record.statistics, record.other_statistics.statistics) == ("running", "batch")


def test_a_run_that_was_recorded_before_says_what_it_lacks():
    folder = RECORDED / "cifar10-three-classes"
    assert "held" not in json.loads((folder / "victims.jsonl").read_text().splitlines()[0])
    told = done(ReplayLab())
    assert told.count("not recorded: whether it holds, accuracy by class") == 3
