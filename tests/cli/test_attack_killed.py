"""Runs that are killed or stopped anywhere, and go on bit for bit."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from mpkit.__main__ import main
from mpkit.cli import attack as attack_command
from mpkit.cli import output
from mpkit.data.schema import sealed
from mpkit.runs import folder as run_folders
from mpkit.runs import record
from mpkit.runs.prepared import prepare
from mpkit.runs.saved import from_dict
from tests.cli.conftest import FILES, Killed, call, flags, interrupt, lines, numbers, refused
from tests.forks import forking


def killed_at(operation: int, monkeypatch, *arguments: str) -> bool:
    """Run a command until its n-th write begins or reaches the disk; whether it came to that."""
    count = 0
    places = [
        (record.os, "fsync", os.fsync),
        (record.os, "replace", os.replace),
        (record, "append", record.append),
    ]
    with monkeypatch.context() as patch:
        for place, name, real in places:

            def counted(*a, real=real, **named):
                nonlocal count
                count += 1
                if count == operation:
                    raise Killed
                return real(*a, **named)

            patch.setattr(place, name, counted)
        try:
            call(*arguments)
        except Killed:
            return True
    return False


def test_a_run_killed_at_any_write_goes_on_bit_for_bit(unbroken, monkeypatch):
    how, wanted, operation = flags(out="run"), numbers(unbroken), 0
    while killed_at(operation := operation + 1, monkeypatch, "attack", *how, "--quiet"):
        if Path("run/settings.json").exists():
            saved = record.load_state(Path("run"))
            recorded, step = len(record.replay(Path("run"))), saved.step if saved else 0
            assert recorded - step in (0, 1), "more than the step at hand is lost"
            assert call("attack", "--resume", "run", "--quiet").code == 0
        else:
            assert call("attack", *how, "--quiet").code == 0
        assert numbers(Path("run")) == wanted, f"killed at write {operation}"
        shutil.rmtree("run")
    # settings, 3 records, 3 states, poisons, victims, summary: two operations each; the pictures
    assert operation > 20


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("left", ["record ahead", "half a record", "both", "parts"])
def test_what_a_kill_leaves_behind_is_put_right(unbroken, step, left, monkeypatch):
    """The folder after `step` steps, with what a kill in the next one can leave of it."""
    whole = (unbroken / "records.jsonl").read_bytes().splitlines(keepends=True)
    Path("run").mkdir()
    shutil.copy(unbroken / "settings.json", "run")
    if step:
        ready = prepare(from_dict(record.read_json(Path("run/settings.json"))["attack"]))
        steps = ready.craft()
        for _ in range(step):
            state, _ = next(steps)
        record.save_state(Path("run"), state)
    rest = {
        "record ahead": whole[step],
        "half a record": whole[step][: len(whole[step]) // 2],
        "both": whole[step] + whole[-1][:20],
        "parts": b"",
    }
    Path("run/records.jsonl").write_bytes(b"".join(whole[:step]) + rest[left])
    if left == "parts":
        for name in ("state.safetensors", "records.jsonl", "poisons.safetensors", "summary.json"):
            Path(f"run/{name}.part").write_bytes(b"\x00half")
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def child(arguments, folder, cache):
    """A command in a process of its own, its stderr in a file."""
    os.chdir(folder)
    os.environ["MPKIT_DATA"] = str(cache)
    torch.set_num_threads(1)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    code = main(arguments)
    sys.stdout.flush()
    sys.exit(code)


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with torch loaded, where the system has them: real ones, and quick."""
    return forking()


def started(processes, cache, *arguments):
    process = processes.Process(target=child, args=([*map(str, arguments)], Path.cwd(), cache))
    process.start()
    return process


def wait_for(condition, process, seconds=60) -> bool:
    """Whether it came true before the process ended."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        if process.exitcode is not None:
            return condition()
        time.sleep(0.001)
    return True


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_a_run_killed_again_and_again_goes_on_bit_for_bit(processes, cache):
    how = {"craft_steps": 14, "models": 3}
    assert call("attack", *flags(out="whole", **how), "--quiet").code == 0
    draw, kills = random.Random(0), 0
    arguments = ["attack", *flags(out="run", **how), "--quiet"]
    while True:
        before = lines("run/records.jsonl")
        process = started(processes, cache, *arguments)
        wait_for(lambda n=before + 1 + kills: lines("run/records.jsonl") >= n, process)
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            break
        kills += 1
        recorded, state = record.replay(Path("run")), record.load_state(Path("run"))
        assert len(recorded) - (state.step if state else 0) in (0, 1)
        arguments = ["attack", "--resume", "run", "--quiet"]
    assert kills >= 3
    assert numbers(Path("run")) == numbers(Path("whole"))


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_control_c_in_a_process_of_its_own(processes, cache):
    how = flags(out="mein lauf", craft_steps=500)
    process = started(processes, cache, "attack", *how)
    assert wait_for(lambda: lines("mein lauf/records.jsonl") >= 2, process)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    said = Path("stderr").read_text()
    assert "Traceback" not in said
    assert Path("stdout").read_text() == ""
    steps = len(record.replay(Path("mein lauf")))
    done = record.load_state(Path("mein lauf")).step
    assert steps - done in (0, 1)
    assert f"\nStopped after craft step {done}. Go on with: mpkit attack --resume " in said
    settings = record.read_json(Path("mein lauf/settings.json"))
    settings["attack"]["settings"]["craft_steps"] = steps + 1
    record.write_json(Path("mein lauf/settings.json"), sealed(settings))
    # The advice may be copied into a shell as it stands.
    _, *arguments = shlex.split(said.rpartition("Go on with: ")[2])
    assert call(*arguments).code == 0
    assert {p.name for p in Path("mein lauf").iterdir()} == FILES


def interrupting(after: int, phase: str):
    """`Progress.reach` that brings a Ctrl-C after so many steps of a phase."""
    real = output.Progress.reach

    def reach(self, done, note=""):
        real(self, done, note)
        if (self.name, done) == (phase, after):
            signal.raise_signal(signal.SIGINT)

    return reach


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize(
    ("phase", "after", "when"),
    [
        ("crafting", 1, "after craft step 1"),
        ("crafting", 3, "after craft step 3"),
        ("victims", 1, "after crafting, before all victims were trained"),
        ("victims", 2, "after crafting, before all victims were trained"),
    ],
)
def test_control_c_ends_cleanly_and_the_run_goes_on(
    phase, after, when, quiet, unbroken, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(output.Progress, "reach", interrupting(after, phase))
        said = call("attack", *flags(out="run"), *quiet)
    assert (said.code, said.out) == (130, "")
    assert said.err.endswith(f"\nStopped {when}. Go on with: mpkit attack --resume run\n")
    assert not Path("run/summary.json").exists()
    assert call("attack", "--resume", "run", *quiet).code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def test_control_c_before_anything_is_recorded(monkeypatch):
    monkeypatch.setattr(
        attack_command, "prepare", lambda *_, **__: signal.raise_signal(signal.SIGINT)
    )
    said = call("attack", *flags(out="run"))
    assert (said.code, said.out) == (130, "")
    assert said.err == "\nmpkit: stopped before anything was recorded\n"
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (["settings.json"], "Stopped before the first craft step was done. Go on with: "),
        (["state.safetensors", "records.jsonl"], "Stopped after craft step 3. Go on with: "),
        (["poisons.safetensors"], "Stopped after crafting, before all victims were trained. Go on"),
        (["summary.json"], "Stopped. The run in {} is complete\n"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_control_c_while_a_run_is_loaded(left, words, copy, monkeypatch):
    """A run that was stopped when `left` was the last to be written."""
    order = ["settings.json", "state.safetensors", "records.jsonl", "poisons.safetensors"]
    order += ["victims.jsonl", "summary.png", "summary.json"]
    for name in order[order.index(left[-1]) + 1 :]:
        (copy / name).unlink()
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    monkeypatch.setattr(run_folders, "prepare", interrupt)
    said = call("attack", "--resume", copy)
    assert (said.code, said.out) == (130, "")
    assert said.err.startswith(f"\n{words.format(copy)}")
    assert said.err.count("\n") == 2
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before


def test_control_c_between_the_record_and_the_state_of_a_step(unbroken, monkeypatch):
    real = record.save_state

    def save_state(folder, state):
        if state.step == 2:
            interrupt()
        real(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr(record, "save_state", save_state)
        said = call("attack", *flags(out="run"), "--quiet")
    assert said.err == "\nStopped after craft step 1. Go on with: mpkit attack --resume run\n"
    assert len(record.replay(Path("run"))) == 2
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def test_a_full_disk_ends_cleanly_and_the_run_goes_on(unbroken, monkeypatch):
    real, states = record.save_state, []

    def save_state(folder, state):
        if len(states) == 1:
            raise OSError(28, "No space left on device", str(folder / "state.safetensors"))
        states.append(state)
        real(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr(record, "save_state", save_state)
        line = refused("attack", *flags(out="run"), "--quiet")
    assert "No space left on device" in line
    assert "Go on with: mpkit attack --resume run" in line
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(unbroken)
