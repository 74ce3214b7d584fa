"""CraftLab's menu of which pictures become poisons."""

from __future__ import annotations

import torch

from mpkit.lab import CraftLab
from mpkit.lab.kit.runner import Phase
from mpkit.runs.bases import nearest
from tests.lab.conftest import press


def test_a_lab_turns_to_the_nearest_and_they_follow_a_picked_target(small, until):
    lab = small(CraftLab)
    before = lab.scenario.bases.tolist()
    lab.controls["bases"].menu.value = "nearest"
    found = lab.scenario.bases.tolist()
    assert found == nearest(lab.scenario).bases.tolist() != before
    lab._pick(3)
    assert lab.scenario.bases.tolist() == nearest(lab.scenario).bases.tolist() != found
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    assert torch.equal(lab.ready.scenario.bases, lab.scenario.bases)
    code = lab.code()
    lab.controls["bases"].menu.value = "first"
    press(lab, "reset")
    assert lab.scenario.bases.tolist() == before
    lab.use_code(code)
    assert lab.attack.bases == "nearest" == lab.controls["bases"].menu.value
