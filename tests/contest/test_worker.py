"""What a team's process does: crafts within its time, and judges what the others cannot tell."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mpkit.contest import worker
from mpkit.contest.contest import drawn, open_contest
from mpkit.contest.worker import Overrun, answer_to, clock, crafted, judged, why
from mpkit.data.archives import DataError
from mpkit.runs.prepared import Prepared, prepare
from mpkit.runs.record import RecordError, load_poisons
from mpkit.runs.saved import to_dict


@pytest.fixture
def contest(folder):
    return drawn(open_contest(folder), 5)


def craft_job(contest, seconds: float = 60, **settings) -> dict:
    (red,) = contest.side("red")
    attack = contest.attack(0, red)
    limits = contest.limits.as_json() | {"craft_seconds": seconds}
    folder = str(contest.poisons(red, 0))
    return {"limits": limits, "targets": [(0, to_dict(attack), folder)]}


def test_poisons_are_those_of_the_same_attack_elsewhere(contest):
    job = craft_job(contest)
    assert [row["target"] for row in crafted(job)] == [0]
    (red,) = contest.side("red")
    ready = prepare(contest.attack(0, red), progress=False)
    pictures, rows = load_poisons(contest.poisons(red, 0))
    assert torch.equal(rows, ready.scenario.bases)
    moved = pictures.int() - (255 * ready.scenario.base_images).round().int()
    assert 0 < moved.abs().max() <= 26


def test_crafting_that_takes_too_long_ends(contest):
    with pytest.raises(
        Overrun, match=r"more than the 1e-06 seconds of processor time that are allowed"
    ):
        list(crafted(craft_job(contest, 1e-6)))


def test_work_that_nobody_waits_for_ends(monkeypatch):
    look = clock(60)
    look()
    monkeypatch.setattr(worker, "PARENT", -1)
    with pytest.raises(Overrun, match="nobody waits for it"):
        look()


def test_judging_that_takes_too_long_ends(contest):
    job = {"defense": None, "seconds": 1e-6}
    job["targets"] = [(0, to_dict(contest.attack(0)), [(None, None)])]
    with pytest.raises(Overrun):
        list(judged(job))


def test_victims_are_judged_with_the_poisons_in_their_rows(contest):
    (red,) = contest.side("red")
    list(crafted(craft_job(contest)))
    folder = str(contest.poisons(red, 0))
    job = {"defense": None, "seconds": 60}
    job["targets"] = [(0, to_dict(contest.attack(0)), [(None, None), ("Foxes", folder)])]
    clean, poisoned = judged(job)
    ready = prepare(contest.attack(0), progress=False)
    pictures, _ = load_poisons(contest.poisons(red, 0))
    for arm, found in (("clean", clean), ("poisoned", poisoned)):
        *_, (_, records) = ready.judge(pictures, (arm,))
        assert found["successes"] == sum(sum(r.success) for r in records)
        assert found["n"] == len(records) == 2
        assert found["accuracy"] == pytest.approx(sum(r.accuracy for r in records) / 2)


def test_a_victim_that_diverged_reads_nothing(contest, monkeypatch):
    whole = Prepared.judge

    def one_diverges(*given):
        for done, victims in whole(*given):
            yield done, [replace(v, accuracy=None) for v in victims[:1]] + victims[1:]

    job = {"defense": None, "seconds": 60}
    job["targets"] = [(0, to_dict(contest.attack(0)), [(None, None)])]
    (before,) = judged(job)
    monkeypatch.setattr(Prepared, "judge", one_diverges)
    (found,) = judged(job)
    assert 0 < found["accuracy"] < before["accuracy"]


def test_what_a_round_was_lost_by_is_in_words():
    assert why(MemoryError()) == "it needs more memory than is allowed"
    torch_words = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
    assert why(RuntimeError(torch_words)) == "it needs more memory than is allowed"
    assert why(ValueError("lr is wrong")) == "lr is wrong"
    assert why(KeyError("x")) == "it failed: KeyError('x')"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "fault"),
        (RecordError("no poisons can be read"), "fault"),
        (DataError("no data"), "fault"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "lost"),
        (MemoryError(), "lost"),
        (Overrun("too long"), "lost"),
        (ValueError("lr is wrong"), "lost"),
        (ZeroDivisionError(), "lost"),
    ],
)
def test_a_team_loses_by_its_own_fault_alone(error, name):
    assert answer_to(error) == {name: why(error)}


@pytest.mark.skipif(sys.platform != "linux", reason="the system knows no such limit")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the driver reserves more than it uses")
def test_memory_has_a_bound():
    text = "from mpkit.contest.worker import bound_memory; import torch; bound_memory(1); "
    text += "torch.zeros(int(1e6)); torch.zeros(int(1e9))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode
    assert "can't allocate memory" in done.stderr
