"""CollisionLab, live."""

from __future__ import annotations

from mpkit.lab import CollisionLab
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import finished


def test_a_collision_live(small, until):
    lab = small(CollisionLab)
    lab.controls["steps"].slider.value = 8
    for _ in range(3):
        count = lab.runner.steps
        lab.transport.buttons["step"].click()
        until(lambda count=count: lab.runner.steps > count and lab.runner.phase is Phase.PAUSED)
    lab.controls["beta"].slider.value = 1.0
    finished(lab, until)
    assert [r.beta for r in lab.records] == [0.1] * 3 + [1.0] * 6
    assert lab.marks == [(2.5, "β 0.1 → 1")]
    assert f"{lab.records[-1].features:.2f} apart" in lab.describe()
    first = lab.curve()[1][:3]
    lab.transport.buttons["reset"].click()
    finished(lab, until)
    assert lab.curve()[1][:1] == first[:1]
