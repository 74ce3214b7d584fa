"""A run that CraftLab saves is one that the command line goes on with."""

from __future__ import annotations

import torch

from mpkit.__main__ import main
from mpkit.lab.kit.runner import Phase
from mpkit.runs.record import load_poisons, replay
from tests.lab.conftest import press, said


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
    assert folder.name in said(lab)
    assert [round(255 * r.epsilon) for r in replay(folder)] == [26, 20]
    # The command line goes on where the lab is, and both come to the same poisons.
    assert main(["attack", "--resume", str(folder), "--quiet"]) == 0
    press(lab, "run")
    until(lambda: lab.runner.phase.ended)
    assert torch.equal(load_poisons(folder)[0], lab.poisons())
    assert [r.loss for r in replay(folder)] == [r.loss for r in lab.records]
