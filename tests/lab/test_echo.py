"""No control writes back what it was shown, in any lab."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
import torch

from mpkit.course.game import SpotThePoison
from mpkit.lab import CollisionLab, CompareLab, CraftLab, DynamicsLab, UnrollLab, VictimsLab
from mpkit.lab.kit.codes import attack_code
from mpkit.lab.kit.controls import Number
from mpkit.lab.replay import ReplayLab
from mpkit.lab.unroll_toy import make_toy

from .conftest import Browser

ODD = {"lr": 0.033, "epsilon": 0.77}
"""Settings between the places of their sliders."""

CRAFT = {"epsilon": 25.5 / 255, "craft_rate": 0.123, "epsilon_c": 0.0777}


def numbers(lab) -> list[Number]:
    found = [*lab.controls.values(), *([lab.page] if isinstance(lab, CraftLab) else [])]
    return [c for c in found if isinstance(c, Number)]


def in_force(lab) -> tuple:
    """All that a control may change."""
    if isinstance(lab, CompareLab):
        return dict(lab.variants), lab.pairs, lab.seed
    if isinstance(lab, ReplayLab):
        return (lab.rate,)
    poisons = lab.poisons.tolist() if isinstance(lab, UnrollLab) else ()
    page = lab.view.page if isinstance(lab, CraftLab) else 0
    waiting = dict(getattr(lab, "waiting", {}))
    return lab.code(), poisons, lab.curve(), lab.describe(), waiting, page


@pytest.fixture
def unroll():
    """Makes labs with points in the plane, and closes them."""
    labs = []

    def make(**given) -> UnrollLab:
        labs.append(UnrollLab(**given))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def made(small, unroll):
    """Makes a lab whose settings are between the places of its sliders."""
    replays = []

    def make(kind):
        if kind is UnrollLab:
            return unroll(**ODD)
        if kind is ReplayLab:
            replays.append(ReplayLab(rate=2.7))
            return replays[-1]
        return small(kind, **(CRAFT if kind in (CraftLab, DynamicsLab) else {}))

    yield make
    for lab in replays:
        lab.close()


LABS = (CollisionLab, CompareLab, CraftLab, DynamicsLab, ReplayLab, UnrollLab, VictimsLab)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("kind", LABS, ids=lambda kind: kind.__name__)
def test_no_lab_is_changed_by_what_its_sliders_are_shown(made, kind, noisy):
    lab, draw = made(kind), random.Random(7)
    before, controls = in_force(lab), numbers(lab)
    browser = Browser(*controls, noisy=noisy)
    browser.answer()
    assert in_force(lab) == before
    for _ in range(25):
        for control in controls:
            more = 0.2 * (control.high - control.low)
            control.show(draw.uniform(control.low - more, control.high + more))
        shown = [c.value for c in controls]
        browser.answer()
        assert [c.value for c in controls] == [c.box.value for c in controls] == shown
    assert in_force(lab) == before
    assert lab.message.value == ""


@pytest.mark.parametrize("kind", [CraftLab, DynamicsLab])
def test_epsilon_is_shown_as_it_is(made, kind):
    lab = made(kind)
    control = lab.controls["epsilon"]
    browser = Browser(control)
    browser.answer()
    assert (control.box.value, control.slider.value) == (25.5, 26)
    for n in (1, 1.5, 7, 26, 49, 63, 64, 100):
        settings = dataclasses.replace(lab.attack.settings, epsilon=n / 255)
        lab.use_code(attack_code(lab.name, dataclasses.replace(lab.attack, settings=settings)))
        browser.answer()
        assert (control.box.value, control.slider.value) == (n, math.floor(n + 0.5))
        assert control.high == max(64, n)  # what is in force widens the range
        assert lab.attack.settings == settings


def test_a_page_stays_open_when_there_are_fewer_or_more(made):
    lab = made(CraftLab)
    page, turned = lab.page, []
    page.turn = turned.append
    browser = Browser(page)
    for now, pages in ((1, 5), (4, 5), (2, 3), (1, 2), (1, 1), (3, 3)):
        page.limit(1, pages, now)
        browser.answer()
        assert (page.value, page.slider.value, page.slider.max, turned) == (now, now, pages, [])


def test_the_game_keeps_a_strength_between_two_places():
    g = torch.Generator().manual_seed(0)
    bases = torch.rand(3, 1, 8, 8, generator=g)
    game = SpotThePoison(bases, (bases + 0.1).clamp(0, 1), strength=1.3)
    browser = Browser(game.knob)
    browser.answer()
    assert (game.strength, game.knob.box.value) == (1.3, 1.3)
    game.turn(2.2)
    browser.answer()
    assert (game.strength, game.knob.box.value) == (2.2, 2.2)


# ── UnrollLab: the sliders are shown where the poisons are, which is on no grid ───────────────


def boxes(lab) -> torch.Tensor:
    return torch.tensor([lab.controls[name].box.value for name in "xy"])


@pytest.mark.parametrize("seed", range(10))
def test_looking_at_a_poison_does_not_move_it(unroll, seed):
    lab, toy = unroll(seed=seed), make_toy(seed)
    slope, path = toy.look_ahead(toy.poisons, 3, 0.5)
    losses = [float(toy.adversarial_loss(p)) for p in path]
    browser = Browser(*numbers(lab))
    browser.answer()
    for which in (2, 3, 4, 1):
        lab.controls["which"].slider.value = which
        browser.answer()
        assert torch.equal(boxes(lab), toy.poisons[which - 1])
        assert torch.equal(lab.poisons, toy.poisons)
        assert (lab.losses, lab.arrows.tolist()) == (losses, (-slope).tolist())


def test_a_run_is_the_same_with_a_browser_and_without(unroll, until):
    curves = []
    for watched in (False, True):
        lab = unroll(lr=0.033)
        browser = Browser(*(numbers(lab) if watched else ()))
        browser.answer()
        for _ in range(2):
            lab.transport.buttons["run"].click()
            until(lambda lab=lab: lab.runner.phase.ended)
            until(lambda lab=lab: torch.equal(boxes(lab), lab.poisons[0]))
            browser.answer()
            assert torch.equal(boxes(lab), lab.poisons[0])
            curves.append((lab.curve(), lab.poisons.tolist()))
            lab.transport.buttons["reset"].click()
            assert torch.equal(boxes(lab), lab.toy.poisons[0])  # not where the run had taken it
            browser.answer()
            assert torch.equal(lab.poisons, lab.toy.poisons)
    assert all(c == curves[0] for c in curves)


def test_a_code_shows_where_its_poisons_are(unroll):
    one, two = unroll(seed=5), unroll()
    browser = Browser(*numbers(two))
    two.controls["x"].box.value = 1.5
    two.use_code(one.code())
    browser.answer()
    assert torch.equal(boxes(two), make_toy(5).poisons[0])
    assert torch.equal(two.poisons, make_toy(5).poisons)


def test_a_hand_that_moves_a_poison_still_does(unroll):
    lab = unroll()
    browser = Browser(*numbers(lab))
    browser.answer()
    there = lab.controls["x"].slider.value
    for x in (there + 0.05, there):  # away, and to where the slider had stood
        lab.controls["x"].slider.set_state({"value": x})
        browser.answer()
        assert float(lab.poisons[0, 0]) == pytest.approx(x)
    assert torch.equal(lab.poisons[:, 1], lab.toy.poisons[:, 1])
    assert torch.equal(lab.poisons[1:], lab.toy.poisons[1:])
