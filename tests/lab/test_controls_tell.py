"""After ▶, ↺ and a share code every control shows what is in force, in every lab."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import torch

from mpkit.lab import (
    CollisionLab,
    CompareLab,
    CraftLab,
    DefenseLab,
    DynamicsLab,
    LookaheadLab,
    ReplayLab,
    UnrollLab,
    VictimsLab,
)
from mpkit.lab.defense_controls import DEFENSE
from mpkit.lab.kit.attack_lab import CRAFTING
from mpkit.lab.kit.controls import Number, Thumbnails
from mpkit.lab.poison_source import PoisonSource
from tests.lab.conftest import LABS, Browser, finished, numbers, press, said, small_attack

pytestmark = pytest.mark.usefixtures("unpainted")

SKIP = {"craft_steps", "victims", "pairs", "steps"}
"""What only makes a run longer."""


def in_force(lab) -> dict:
    """What a lab would do next, or is doing, told without its controls; in their units."""
    if isinstance(lab, CompareLab):
        (victims,) = {a.victims for a in lab.variants.values()}
        return {"victims": victims, "pairs": len(lab.drawn), "seed": lab.seed}
    if isinstance(lab, ReplayLab):
        return {"rate": lab.rate}
    if isinstance(lab, UnrollLab):
        place = lab.poisons[lab.which].tolist()
        look = vars(lab.knobs())
        return look | {"which": lab.which + 1, "x": place[0], "y": place[1]}
    if isinstance(lab, LookaheadLab):
        return vars(lab.knobs()) | {"which": lab.which + 1}
    attack = lab.attack
    if isinstance(lab, CraftLab):
        shown = {name: s.shown(getattr(lab.knobs(), name)) for name, s in CRAFTING.items()}
        names = ("bases", "fine_tune", "network", "target_class", "poison_class")
        shown |= vars(lab.knobs().recipe)
        return shown | {n: getattr(attack, n) for n in names} | {"poisons": len(lab.scenario.bases)}
    if isinstance(lab, DefenseLab):
        own = {"look": lab.looked, "set_up": lab.set_up, "judged": lab.set_up in lab.chosen}
        turned = {name: s.shown(getattr(attack.defense, name)) for name, s in DEFENSE.items()}
        return turned | own | {"victims": lab.count, "seed": lab.seed}
    recipe = vars(attack.victim_recipe)
    if isinstance(lab, CollisionLab):
        names, scenario = lab.scenario.train.classes, lab.scenario
        base = names[int(scenario.train.y[scenario.bases[0]])]
        faces = {"target_class": names[int(scenario.target_labels[0])], "poison_class": base}
        return vars(lab.knobs()) | faces | {"seed": lab.seed}
    if isinstance(lab, DynamicsLab):
        epsilon = lab.records[-1].epsilon if lab.records else lab.epsilon
        epsilon = attack.settings.epsilon if epsilon is None else epsilon
        return recipe | {"seed": lab.twin_seed, "epsilon": 255 * epsilon, "wait": lab.wait}
    network = attack.victim_network or attack.network
    own = {"victims": lab.count, "share": lab.strength, "seed": lab.seed, "wait": lab.wait}
    return recipe | own | {"network": network, "fine_tune": attack.tuning_of_victims}


def shown(lab) -> dict:
    """What the controls show, by what a browser has."""
    found = {}
    for name, control in lab.controls.items():
        if isinstance(control, Number):
            assert control.box.value == control.value
            place = control._place(control.value)
            assert control.slider.value == place
            assert control.least <= control.value <= control.most
            found[name] = control.box.value
        elif isinstance(control, Thumbnails):
            row = control.row
            found[name] = row.captions[row.picked] if row.picked >= 0 else None
        else:
            assert control.menu.value == control.value
            found[name] = control.menu.value
    return found


def agree(lab, browser) -> None:
    browser.answer()
    there, told = in_force(lab), shown(lab)
    for name, value in told.items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            near = 6e-4 if name in ("x", "y") else 1e-5  # of a point, three digits are shown
            assert value == pytest.approx(there[name], abs=near), name
        else:
            assert value == there[name], name


def agreed(lab, browser) -> bool:
    with contextlib.suppress(AssertionError):
        agree(lab, browser)
        return True
    return False


def turn_all(lab) -> list[str]:
    """Turn every control to another value: those that were taken."""
    turned = []
    for name, control in list(lab.controls.items()):
        before = control.value
        if isinstance(control, Number) and name not in SKIP:
            up = control.value + control.step
            control.box.value = up if up <= control.high else control.value - control.step
        elif isinstance(control, Thumbnails):
            control.row.press((control.value + 1) % control.row.total)
        elif not isinstance(control, Number) and name in ("augment", "flip", "adversarial_loss"):
            other = [v for _, v in control.menu._options_full if v != control.value]
            control.menu.value = other[0]
        turned += [name] if control.value != before else []
    return turned


def made(kind, small, **given):
    if kind is UnrollLab:
        lab = kind()
        lab.moves = 3
        return lab
    if kind is ReplayLab:
        return kind(rate=19)
    classes = {"classes": ("1", "3", "7"), "n_train": 90, "craft_steps": 2}
    return small(kind, **classes | ({"pairs": 1} if kind is CompareLab else {}) | given)


@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_every_control_shows_what_is_in_force(kind, small, until):
    lab = made(kind, small)
    try:
        browser = Browser(*numbers(lab))
        agree(lab, browser)
        assert len(turn_all(lab)) >= min(3, len(lab.controls) - len(SKIP & lab.controls.keys()))
        agree(lab, browser)
        if kind is CraftLab:  # clean models look for the target of the class it was turned to
            until(lambda: lab.attack.target_index is not None)
        if hasattr(lab, "code"):
            code = lab.code()
        if kind is ReplayLab:
            press(lab, "step")
            until(lambda: lab.runner.steps == 1)
            press(lab, "stop")
        else:
            finished(lab, until)
        until(lambda: agreed(lab, browser))  # what is told of the end is told after it
        agree(lab, browser)
        turn_all(lab)  # some of it for the next run
        press(lab, "reset")
        agree(lab, browser)
        turn_all(lab)
        if hasattr(lab, "code"):
            lab._use(code)
            assert said(lab).count("are those of the code") == 1
            assert lab.code() == code
            agree(lab, browser)
    finally:
        lab.close()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (CraftLab, {"epsilon": 0.1, "unroll_steps": 12, "models": 30, "seed": 12345}),
        (CraftLab, {"craft_rate": 25.0}),
        (DynamicsLab, {"epsilon": 0.5, "victim_lr": 2.5, "seed": 12345}),
        (VictimsLab, {"victims": 200, "seed": 12345, "victim_epochs": 300}),
    ],
)
def test_values_outside_a_slider_are_shown_and_kept(kind, given, small):
    lab = made(kind, small, **given)
    browser = Browser(*numbers(lab))
    agree(lab, browser)
    code = lab.code()
    lab._use(code)
    assert "are those of the code" in said(lab)
    agree(lab, browser)
    assert lab.code() == code


def test_the_strength_of_given_poisons_is_shown_before_a_run(small, until):
    bases = (255 * PoisonSource(None, small_attack()).scenario.base_images).round()
    poisons = torch.where(bases > 127, bases - 20, bases + 20).to(torch.uint8)
    lab = small(DynamicsLab, poisons)
    assert lab.controls["epsilon"].value == 20
    finished(lab, until)
    assert {round(255 * r.epsilon) for r in lab.records} == {20}
    press(lab, "reset")
    assert lab.controls["epsilon"].value == 20


def test_a_strength_of_its_own_is_in_its_own_code(small):
    lab = small(DynamicsLab)
    lab.controls["epsilon"].limit(0, 255)
    lab.controls["epsilon"].box.value = 100
    code = lab.code()
    lab._use(code)
    assert lab.code() == code
    assert "are those of the code" in said(lab)


def test_classes_that_wait_for_a_reset_stay_marked(small, until):
    lab = made(CraftLab, small)
    press(lab, "step")
    until(lambda: lab.runner.steps == 1)
    lab.later(target_class="3")
    lab.show_controls()
    assert shown(lab)["target_class"] == "3"
    assert dataclasses.asdict(lab.now())["target_class"] == "3"


def test_a_rate_outside_the_slider_is_shown():
    lab = ReplayLab(rate=50)
    control = lab.controls["rate"]
    assert (control.box.value, control.slider.value, control.slider.max) == (50, 20, 20)
    lab.close()
