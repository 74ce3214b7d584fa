"""`mpkit attack` as several processes: one run, one voice, and an end that is the same for all."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpkit.runs import record
from tests.cli.conftest import call, flags, lines, numbers
from tests.ranks.launch import ROOT, Launched, launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as clusters have it")
LONG = {"craft_steps": 14, "models": 3}

# Begins as `python -m mpkit`, and changes something on the last rank.
CHANGED = """
import os, sys, time
from mpkit import __main__, metapoison
from mpkit.runs import origin
if os.environ["RANK"] == "1":
    {0}
sys.exit(__main__.main(sys.argv[1:]))
"""
SLEEPY = CHANGED.format("metapoison.Crafting.step = lambda *_: time.sleep(600)")
OTHER = CHANGED.format('origin.code = lambda: "another"')
SLOW = CHANGED.format(
    """
    from mpkit.runs import together
    load, step = together.prepare, metapoison.Crafting.step
    def loading(*given):
        time.sleep(8)
        return load(*given)
    def computing(*given):
        metapoison.Crafting.step = step  # once is enough
        end = time.monotonic() + 8
        while time.monotonic() < end:
            pass
        return step(*given)
    together.prepare, metapoison.Crafting.step = loading, computing
    """
)
BROKEN = CHANGED.format("metapoison.Crafting.step = lambda *_: 1 / 0")


@pytest.fixture
def attack(tmp_path, cache):
    """`mpkit attack` as so many ranks; what is left of it ends with the test."""
    with contextlib.ExitStack() as stack:

        def begun(ranks: int, *arguments: str, code: str = "", **environment: str) -> Launched:
            environment |= {"MPKIT_DATA": str(cache)}
            start = ("-c", code) if code else ("-m", "mpkit")
            command = (*start, "attack", *arguments, "--quiet")
            found = launch(ranks, *command, folder=tmp_path, **environment)
            stack.callback(found.end)
            return found

        yield begun


def wait_for_steps(count: int, launched: Launched, folder: str = "run") -> None:
    end = time.monotonic() + 120
    while lines(f"{folder}/records.jsonl") < count:
        assert time.monotonic() < end, launched.said()
        assert launched.processes[0].poll() is None, launched.said()
        time.sleep(0.002)


def test_torchrun_leaves_the_run_folder_of_one_process(unbroken, cache):
    command = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mpkit")
    about = {"MPKIT_DATA": str(cache), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command, "attack", *flags(out="run")],
        env=os.environ | about, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert numbers(Path("run")) == numbers(unbroken)
    assert {p.name for p in Path("run").iterdir()} == {p.name for p in unbroken.iterdir()}
    plans = [record.read_json(f / "settings.json")["plan"] for f in (Path("run"), unbroken)]
    assert plans[0] == plans[1]
    assert done.stderr.count("Everything is in run") == 1
    assert done.stdout.count("Victims that call") == 1


def test_a_rank_that_is_killed_ends_all_and_any_number_goes_on(attack):
    assert call("attack", *flags(out="whole", **LONG), "--quiet").code == 0
    launched = attack(2, *flags(out="run", **LONG))
    wait_for_steps(3, launched)
    launched.processes[1].kill()
    assert launched.codes() == [1, -signal.SIGKILL]
    first, _ = launched.said()
    step = record.saved_step(Path("run"))
    assert first.count("\n") == 1
    assert first.startswith("mpkit: lost rank 1 on ")
    assert f"Stopped after craft step {step}. Go on with: mpkit attack --resume run" in first
    launched = attack(3, "--resume", "run")
    wait_for_steps(step + 2, launched)
    launched.processes[0].kill()
    assert launched.codes() == [-signal.SIGKILL, 1, 1]
    assert [s.count("mpkit: lost ") for s in launched.said()[1:]] == [1, 0], launched.said()
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(Path("whole"))


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_rank_that_is_stopped_ends_all(stopped, attack):
    launched = attack(2, *flags(out="run", craft_steps=2000), MPKIT_PATIENCE="6")
    wait_for_steps(2, launched)
    launched.processes[stopped].send_signal(signal.SIGSTOP)
    codes = launched.codes()
    assert codes[1 - stopped] == 1
    assert "mpkit: lost " in launched.said()[1 - stopped]
    assert "mpkit attack --resume run" in launched.said()[1 - stopped]
    if stopped == 1:  # the first has the store here, by which the others would know it
        assert codes[1] == -signal.SIGKILL


def test_a_rank_that_does_not_go_on_ends_all(attack):
    launched = attack(2, *flags(out="run"), code=SLEEPY, MPKIT_PATIENCE="6")
    assert launched.codes()[0] == 1
    first, other = launched.said()
    assert first.startswith("mpkit: lost rank 1 on "), first
    assert "which did nothing for 6 s. Stopped before the first craft step was done" in first
    assert other == ""


def test_a_rank_that_loads_or_computes_for_long_is_not_lost(attack, unbroken):
    launched = attack(2, *flags(out="run"), code=SLOW, MPKIT_PATIENCE="5")
    assert launched.codes() == [0, 0], launched.said()
    assert numbers(Path("run")) == numbers(unbroken)


def test_an_error_of_ours_is_said_once_with_its_rank(attack):
    launched = attack(2, *flags(out="run"), code=BROKEN)
    assert launched.codes() == [1, 1]
    first, other = launched.said()
    assert "on rank 1 (" in first
    assert "ZeroDivisionError: division by zero" in first
    assert other == ""


def test_control_c_in_any_rank_ends_all(attack):
    launched = attack(2, *flags(out="run", craft_steps=2000))
    wait_for_steps(2, launched)
    launched.processes[1].send_signal(signal.SIGINT)
    assert launched.codes() == [130, 130]
    step = record.saved_step(Path("run"))
    said = f"\nStopped after craft step {step}. Go on with: mpkit attack --resume run\n"
    assert launched.said() == [said, ""]
    assert Path("run/frames.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [
        ({"out": "used"}, "", "used holds a run already"),
        ({"epsilon": "nonsense"}, "", "'nonsense' is no number"),
        ({}, OTHER, "not every process has the same version of mpkit's code"),
    ],
)
def test_what_is_refused_is_said_once_and_ends_all(changes, code, named, attack):
    Path("used").mkdir()
    Path("used/settings.json").touch()
    launched = attack(2, *flags(**changes), code=code)
    assert launched.codes() == [2, 2]
    first, other = launched.said()
    assert named in first
    assert first.count("\n") == 1
    assert other == ""


def test_a_patience_that_is_none_is_refused(attack):
    launched = attack(2, *flags(out="run"), MPKIT_PATIENCE="soon")
    assert launched.codes() == [2, 2]
    first, other = launched.said()
    assert first == "mpkit: MPKIT_PATIENCE is 'soon': say seconds, from 3 to 86400\n"
    assert other == ""
