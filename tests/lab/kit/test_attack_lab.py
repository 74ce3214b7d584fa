"""Share codes of labs that stand on an attack."""

from __future__ import annotations

import pytest

from mpkit.lab import CollisionLab, CraftLab, DefenseLab, DynamicsLab, VictimsLab
from mpkit.runs.share import attack_code
from tests.lab.conftest import finished

pytestmark = pytest.mark.usefixtures("unpainted")

# ── all of them ───────────────────────────────────────────────────────────────────────────────


TURNED = (
    (CollisionLab, {"beta": 0.4, "steps": 9, "seed": 3}),
    (CraftLab, {"epsilon": 20, "unroll_steps": 2, "epsilon_c": 0.1, "models": 3, "seed": 4}),
    (DefenseLab, {"victims": 1, "suspected": 0.15, "jpeg_quality": 20, "seed": 3}),
    (DynamicsLab, {"epsilon": 12, "epochs": 4, "seed": 2}),
    (VictimsLab, {"victims": 3, "share": 50, "epochs": 4, "seed": 5, "batch": 10}),
)


@pytest.mark.parametrize(("kind", "values"), TURNED, ids=lambda v: getattr(v, "name", ""))
def test_a_share_code_gives_the_same_run_and_the_same_sliders(small, until, kind, values):
    one, two = small(kind, perturbation="both"), small(kind)
    for name, value in values.items():
        one.controls[name].box.value = value
    two.use_code(one.code())
    assert two.code() == one.code()
    for name, control in one.controls.items():
        assert two.controls[name].value == control.value, name
    finished(one, until)
    finished(two, until)
    assert one.curve() == two.curve()
    assert one.describe() == two.describe()


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (CollisionLab, {"beta": "much"}),
        (CollisionLab, {"beta": -1}),
        (CollisionLab, {"magic": 1}),
        (DefenseLab, {"wanted": 0}),
        (DefenseLab, {"defenses": "prayer"}),
        (DynamicsLab, {"epsilon": 700}),
        (DynamicsLab, {"seed": "x"}),
        (VictimsLab, {"share": 1000}),
        (VictimsLab, {"wanted": 0}),
    ],
)
def test_codes_with_odd_values_change_nothing(small, kind, own):
    lab = small(kind)
    before = lab.code()
    with pytest.raises(ValueError, match=r"beta|settings|ε|seed|share|number|prayer"):
        lab.use_code(attack_code(lab.name, lab.attack, **own))
    assert lab.code() == before


def test_a_lab_with_a_source_takes_no_code(small):
    crafting = small(CraftLab)
    for kind in (DynamicsLab, VictimsLab):
        lab = small(kind, crafting)
        with pytest.raises(ValueError, match="without a source"):
            lab.use_code(small(kind).code())


# ── what a hostile hand found ─────────────────────────────────────────────────────────────────


def test_a_code_in_mid_run_holds_what_waits(small, until):
    lab = small(CraftLab)
    finished(lab, until)
    lab.later(models=3)
    other = small(CraftLab)
    other.use_code(lab.code())
    assert other.knobs().models == 3
