"""A run that CraftLab saves is one that the command line goes on with."""

from __future__ import annotations

import html
import re
import shlex

import pytest
import torch

from mpkit.__main__ import main
from mpkit.lab.kit.runner import Phase
from mpkit.runs import record
from mpkit.runs.folder import hold
from mpkit.runs.record import RecordError, load_poisons, replay
from tests.lab.conftest import press, said

pytestmark = pytest.mark.usefixtures("unpainted")


def test_a_run_saved_in_the_middle_can_be_resumed(lab, until, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tools = lab.panel.children[-1].children[0].children[0].children
    save = next(b for b in tools if b.description == "Save")
    save.click()
    assert "nothing to save yet" in said(lab)
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    lab.controls["epsilon"].slider.value = 20
    press(lab, "step")
    until(lambda: lab.runner.steps == 2 and lab.runner.phase is Phase.PAUSED)
    save.click()
    (folder,) = (tmp_path / "runs").iterdir()
    command = re.search(r"mpkit (attack --resume [^\s<]+)", html.unescape(said(lab)))[1]
    assert [round(255 * r.epsilon) for r in replay(folder)] == [26, 20]
    # The command line goes on where the lab is, and both come to the same poisons.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # a terminal is not where the notebook is
    assert main([*shlex.split(command), "--quiet"]) == 0
    press(lab, "run")
    until(lambda: lab.runner.phase.ended)
    assert torch.equal(load_poisons(folder)[0], lab.poisons())
    assert [r.loss for r in replay(folder)] == [r.loss for r in lab.records]


def test_nobody_goes_on_with_a_run_before_it_is_saved_whole(lab, until, tmp_path, monkeypatch):
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    met = []

    def save_state(folder, state):
        with pytest.raises(RecordError, match="is in use by another mpkit"), hold(folder):
            pass
        met.append(folder)

    monkeypatch.setattr(record, "save_state", save_state)
    folder = lab.save(tmp_path)
    assert met == [folder]
    with hold(folder):
        assert (folder / "poisons.safetensors").is_file()
