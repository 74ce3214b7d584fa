"""What a panel keeps of its runs: curves by name, and codes."""

from __future__ import annotations

import pytest

from mpkit.lab import UnrollLab


@pytest.fixture
def lab(monkeypatch):
    monkeypatch.setenv("MPKIT_SYNC", "1")
    lab = UnrollLab()
    yield lab
    lab.close()


def test_there_is_nothing_to_keep_before_a_run(lab):
    lab._keep("mine")
    assert "nothing to keep" in lab.message.value
    assert lab.named == []


def test_the_last_two_kept_runs_stay_each_name_once(lab):
    lab.runner.run()
    for name in ("one", "two", "two", "", "a $ b"):
        lab._keep(name)
    assert [line.label for line in lab.named] == ["run 3", r"a \$ b"]
    assert all(list(line.y) == list(lab.curve()[1]) for line in lab.named)
    shown = [line for line in lab.view.kept_lines if len(line.get_xdata())]
    assert len(shown) == 2


def test_a_code_is_used_at_the_beginning_alone(lab):
    code = lab.code()
    lab.runner.run()
    lab._use(code)
    assert "↺ first" in lab.message.value
    lab.transport.buttons["reset"].click()
    lab._use(code)
    assert "are those of the code" in lab.message.value
    lab._use("nonsense")
    assert "no share code" in lab.message.value
