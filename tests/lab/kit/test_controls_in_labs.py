"""No control writes back what it was shown, in any lab."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
import torch

from mpkit.course.game import SpotThePoison
from mpkit.lab import CompareLab, CraftLab, DynamicsLab, UnrollLab
from mpkit.lab.replay import ReplayLab
from mpkit.runs.share import attack_code
from tests.lab.conftest import LABS, Browser, numbers

pytestmark = pytest.mark.usefixtures("unpainted")

ODD = {"lr": 0.033, "epsilon": 0.77}
"""Settings between the places of their sliders."""

CRAFT = {"epsilon": 25.5 / 255, "craft_rate": 0.123, "epsilon_c": 0.0777}


def in_force(lab) -> tuple:
    """All that a control may change."""
    if isinstance(lab, CompareLab):
        return dict(lab.variants), lab.pairs, lab.seed
    if isinstance(lab, ReplayLab):
        return (lab.rate,)
    poisons = lab.poisons.tolist() if isinstance(lab, UnrollLab) else ()
    page = lab.exhibit.gallery.first if isinstance(lab, CraftLab) else 0
    waiting = dict(getattr(lab, "waiting", {}))
    return lab.code(), poisons, lab.curve(), lab.describe(), waiting, page


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
