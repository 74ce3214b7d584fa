"""What a first run would wait for is there before it, and where it cannot be had nothing breaks."""

from __future__ import annotations

import sys

from mpkit.lab import DynamicsLab, UnrollLab
from mpkit.lab.kit import warmup


def test_the_first_lab_of_a_process_imports_the_compiler(small):
    small(DynamicsLab)
    thread = warmup.warm_up()
    UnrollLab().close()
    assert warmup.warm_up() is thread
    assert thread.daemon
    thread.join(60)
    assert not thread.is_alive()
    assert "torch._dynamo" in sys.modules


def test_an_import_that_fails_is_passed_over(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    warmup._import()
