"""A step that takes long tells how far it is, and is paused and ended within."""

from __future__ import annotations

import threading

import pytest
import torch

from mpkit.lab import CollisionLab, CompareLab, CraftLab, DefenseLab, DynamicsLab, VictimsLab
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import finished, press

pytestmark = pytest.mark.usefixtures("unpainted")


class Gate:
    """Stands in the way of every batch, once it is shut, and lets one through at a time."""

    def __init__(self):
        self.open, self.reached, self.batches = True, threading.Event(), 0
        self.pass_ = threading.Semaphore(0)

    def __call__(self) -> None:
        self.batches += 1
        if not self.open:
            self.reached.set()
            self.pass_.acquire()

    def release(self) -> None:
        self.open = True
        self.pass_.release(1000)


@pytest.fixture
def gate(monkeypatch):
    """Every batch of any lab's long steps comes by here, before the panel hears of it."""
    found, over = Gate(), "mpkit.telling.Count.over"

    def gated(count, batches, models=1):
        for batch in batches:
            yield batch
            found()
            count.done = min(count.of, count.done + models)
            if count.tell:
                count.tell(count.done, count.of)

    monkeypatch.setattr(over, gated)
    yield found
    found.release()


def shut(lab, gate, until) -> None:
    """Runs the lab until it is within a step: at a batch that is not the last."""
    gate.open = False
    press(lab, "run")
    assert gate.reached.wait(30)


KINDS = (CraftLab, VictimsLab, DynamicsLab, CompareLab, CollisionLab, DefenseLab)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_stop_acts_after_the_batch_under_way(kind, small, until, gate):
    lab = small(kind, **({"pairs": 1} if kind is CompareLab else {}))
    shut(lab, gate, until)
    press(lab, "stop")
    assert "stopping" in lab.status.value
    assert "after this" in lab.status.value  # when it will act
    before = gate.batches
    gate.release()
    until(lambda: lab.runner.phase is Phase.STOPPED)
    assert gate.batches <= before + 2  # one on each thread that was under way
    assert lab.runner.error is None
    assert lab.runner.steps == 0


def test_a_pause_within_a_step_changes_nothing(small, until, gate):
    lab, other = small(CraftLab), small(CraftLab)
    shut(lab, gate, until)
    press(lab, "pause")
    before = gate.batches
    gate.release()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    assert gate.batches <= before + 2
    assert lab.records == []
    assert "batches" in lab.status.value
    lab.turn(epsilon=lab.knobs().epsilon)  # this step goes on with what it began with
    assert "From the next craft step on" in lab.message.value
    press(lab, "step")  # the rest of this one
    until(lambda: lab.runner.phase is Phase.PAUSED and lab.runner.steps == 1)
    finished(lab, until)
    finished(other, until)
    assert [r.losses for r in lab.records] == [r.losses for r in other.records]
    assert torch.equal(lab.poisons(), other.poisons())


def test_a_reset_within_a_step_leaves_it(small, until, gate):
    lab = small(CraftLab)
    shut(lab, gate, until)
    press(lab, "pause")
    worker = lab.runner._thread
    gate.release()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    press(lab, "reset")
    worker.join(30)
    assert not worker.is_alive()
    assert (lab.runner.phase, lab.runner.error) == (Phase.READY, None)
    finished(lab, until)
    assert len(lab.records) == lab.total()


def test_the_panel_tells_how_far_a_step_is(small, until, gate):
    lab = small(CraftLab)
    told = []
    lab.status.observe(lambda change: told.append(change["new"]), "value")
    finished(lab, until)
    assert any("batches" in words for words in told)
    assert "batches" not in lab.status.value


def test_a_victim_beside_the_crafting_is_left_within_an_epoch(small, until, gate):
    lab = small(CraftLab)
    finished(lab, until)
    gate.open = False
    lab.victim.start()
    assert gate.reached.wait(30)
    worker, before = lab.victim.runner._thread, gate.batches
    press(lab, "reset")
    gate.release()
    worker.join(30)
    assert not worker.is_alive()
    assert gate.batches <= before + 2
