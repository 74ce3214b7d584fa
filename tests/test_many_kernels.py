"""Kernels of a class: started, measured and asked as the benchmark does it, two of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))

import many_kernels

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="Linux alone tells what is shared"
)
GIVEN = (
    "data='digits', n_train=60, n_test=60, classes=('1', '7'), size=8, models=2, epochs=3, "
    "craft_steps=100_000, batch=20, target_index=(0,)"
)


def test_two_kernels_are_measured_and_one_answers(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("MPKIT_SCALE", "ci")
    file = tmp_path / "found.json"
    few = ["--kernels", "2", "--running", "1", "--moves", "2", "--settle", "0", "--pause", "0"]
    many_kernels.main([*few, "--given", GIVEN, "--json", str(file)])
    found = json.loads(file.read_text())
    assert found["idle"]["kernels"] == found["all"]["kernels"] == 2
    assert found["running"]["kernels"] == 1
    assert found["bare"]["own_mib"] < found["idle"]["own_mib"]
    assert found["answer"]["n"] == found["picture"]["n"] == 2
    assert found["answer"]["worst_s"] <= found["picture"]["worst_s"]
    assert found["steps"][0] > 0
    assert "1 running, from a move to the answer: median" in capsys.readouterr().out


def test_the_memory_of_a_process_is_divided():
    found = many_kernels.memory(os.getpid())
    assert 0 < found["own"] <= found["pss"] <= found["rss"]


def test_a_lab_opens_without_what_only_a_defense_needs():
    """As each kernel of a class would have it."""
    code = "import sys, mpkit.lab; print([m for m in ('sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
