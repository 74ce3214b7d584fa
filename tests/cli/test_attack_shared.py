"""``mpkit attack`` and ``sweep`` on what others use too: folders in use, and links in them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from mpkit.cli import attack as attack_command
from mpkit.cli import sweep
from mpkit.data import files
from mpkit.runs.folder import hold
from tests.cli.conftest import DRAWN, Stand, call, flags, numbers, refused

posix = pytest.mark.skipif(os.name == "nt", reason="links of POSIX")


# ── one process at a time ───────────────────────────────────────────────────────────────────────


def test_a_run_in_use_is_not_resumed(copy, unbroken):
    before = sorted(p.name for p in copy.iterdir())
    with hold(copy):
        assert "in use by another mpkit: wait" in refused("attack", "--resume", copy, "--quiet")
    assert call("attack", "--resume", copy, "--quiet").code == 0
    assert numbers(copy) == numbers(unbroken)
    assert sorted(p.name for p in copy.iterdir()) == before


def test_of_two_new_runs_in_one_folder_the_second_is_refused(unbroken, monkeypatch):
    """Both have found it empty: what the first begins in it meanwhile is there all the same."""
    prepare, other = attack_command.prepare, []

    def slow(*given, **named):
        monkeypatch.setattr(attack_command, "prepare", prepare)
        other.append(call("attack", *flags(out="run"), "--quiet").code)
        return prepare(*given, **named)

    monkeypatch.setattr(attack_command, "prepare", slow)
    assert "holds a run already" in refused("attack", *flags(out="run"), "--quiet")
    assert other == [0]
    assert numbers(Path("run")) == numbers(unbroken)
    with hold(Path("other")):
        assert "in use by another" in refused("attack", *flags(out="other"), "--quiet")
    assert not list(Path("other").iterdir())


def test_a_sweep_in_use_is_not_joined(monkeypatch):
    monkeypatch.setattr(sweep, "_measure", Stand(0))
    how = flags(epsilon=None, unroll_steps=None, **DRAWN)
    with files.locked(Path(".mine.jsonl.lock"), "mine.jsonl"):
        line = refused("sweep", *how, "--quiet", "--out", "mine.jsonl")
    assert "mine.jsonl is in use by another mpkit" in line
    assert not list(Path().iterdir())


# ── links ───────────────────────────────────────────────────────────────────────────────────────


@posix
@pytest.mark.parametrize(
    "name", ["records.jsonl", "victims.jsonl", "summary.json", "summary.png", "state.safetensors",
             "poisons.safetensors", "settings.json", ".lock", "poisons", "poisons/00000.png"],
)  # fmt: skip
def test_nothing_is_written_through_a_link(name, copy, tmp_path):
    outside, place = tmp_path / "outside", copy / name
    if place.is_dir():
        shutil.move(place, outside)
    elif name == ".lock" or not place.exists():
        outside.write_bytes(b"theirs")
    else:
        shutil.move(place, outside)
    os.symlink(outside, place)
    for left in ("summary.json.part", "state.safetensors.part"):
        os.symlink(outside, copy / left)

    def seen() -> dict:
        there = [outside, *outside.rglob("*")] if outside.is_dir() else [outside]
        return {p.name: (p.stat().st_mtime_ns, p.stat().st_size) for p in there}

    before = seen()
    said = call("attack", "--resume", copy, "--quiet")
    assert seen() == before
    assert said.code in (0, 2)
    if said.code:
        assert "link" in said.err
        assert said.err.count("\n") == 1


def test_what_kills_have_left_goes_when_the_run_goes_on(copy):
    left = [copy / f"state.safetensors.{'ab' * 16}.part", copy / "poisons" / f"{'0' * 32}.part"]
    left[1] = left[1].with_name(f"00001.png.{'0' * 32}.part")
    for path in left:
        path.write_bytes(b"half")
    assert call("attack", "--resume", copy, "--quiet").code == 0
    assert not any(path.exists() for path in left)
