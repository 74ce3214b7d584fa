"""Signs of life."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from mpkit import signs
from mpkit.signs import Seen, end_sibling, place


def test_what_was_heard_is_as_old_as_what_was_new_in_it():
    seen = Seen()
    for now, count, moves in ((10, 0, 0), (11, 1, 0), (12, 2, 1), (13, 3, 1), (14, 3, 1)):
        seen.hear(json.dumps([count, moves, "host", 7, "here"], allow_nan=False).encode(), now)
    assert (seen.alive, seen.moved) == (13, 12)
    assert seen.process == ["host", 7, "here"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it has no place")
def test_only_a_process_of_the_same_launcher_here_is_ended():
    # A launcher of two: the second ends the first, but not by the name of another machine; and a
    # process that another one started is left alone.
    script = """
import subprocess, sys
sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
end = "from mpkit.signs import end_sibling, place; end_sibling({0}, {1})"
first = subprocess.Popen(sleep, stdout=subprocess.PIPE)
first.stdout.readline()
for where in ("'elsewhere'", "''", "place()"):
    print(first.poll(), end=" ")
    subprocess.run([sys.executable, "-c", end.format(first.pid, where)], check=True)
print(first.wait(30))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == f"None None None {-signal.SIGKILL}\n", done.stderr
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    end_sibling(child.pid, place())
    child.communicate(b"\n")
    assert child.returncode == 0


def test_patience_is_as_the_variable_says(monkeypatch):
    monkeypatch.delenv("MPKIT_PATIENCE", raising=False)
    assert signs.patience() == signs.PATIENCE
    monkeypatch.setenv("MPKIT_PATIENCE", "90")
    assert signs.patience() == 90


@pytest.mark.parametrize("said", ["", "soon", "nan", "inf", "-1", "2.9", "86401"])
def test_a_patience_that_is_none_is_refused(said, monkeypatch):
    monkeypatch.setenv("MPKIT_PATIENCE", said)
    with pytest.raises(ValueError, match=r"MPKIT_PATIENCE is .* say seconds, from 3 to 86400"):
        signs.patience()
