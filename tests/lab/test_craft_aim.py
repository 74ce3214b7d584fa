"""While clean models look for the target, the lab answers."""

from __future__ import annotations

import threading

from mpkit.evaluation import margins
from mpkit.lab import CraftLab
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import finished, press


def test_who_waits_for_the_target_can_pause_and_stop(small, until, monkeypatch):
    found = threading.Event()
    monkeypatch.setattr(margins, "_kept", {})  # a process in which nobody has looked for it yet
    monkeypatch.setattr(CraftLab, "_found", lambda *_: found.wait(30) and (0,))
    lab = small(CraftLab, target_index=None)
    assert "clean models" in lab.message.value
    press(lab, "run")
    press(lab, "pause")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    press(lab, "run")
    press(lab, "stop")
    until(lambda: lab.runner.phase is Phase.STOPPED)
    assert not found.is_set()
    found.set()
    until(lambda: lab.attack.target_index == (0,))
    until(lambda: "clean models" not in lab.message.value)
    press(lab, "reset")
    finished(lab, until)
