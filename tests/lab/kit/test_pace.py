"""How long a run will take, foretold by the one before."""

from __future__ import annotations

import re
import time

import pytest

from mpkit.lab import CraftLab, DynamicsLab, VictimsLab
from mpkit.lab.kit import pace
from mpkit.lab.kit.runner import Phase
from mpkit.networks import NETWORKS, network
from mpkit.runs.attack import make_attack
from tests.lab.conftest import SIGNS, finished

pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.mark.parametrize("kind", [CraftLab, DynamicsLab, VictimsLab])
def test_the_time_of_a_run_is_foretold_by_the_one_before(small, until, kind):
    lab = small(kind)
    assert "here" not in lab.status.value
    began = time.perf_counter()
    finished(lab, until)
    until(lambda: "done" in lab.status.value)  # it is remembered by then
    took = time.perf_counter() - began
    lab.transport.buttons["reset"].click()
    foretold = pace.seconds(lab.name, lab.attack, lab.work())
    if kind is CraftLab:  # the others need not craft a second time
        assert 0.2 * took < foretold <= took
    assert "about" in lab.status.value
    assert " here" in lab.status.value


def test_a_run_that_was_changed_foretells_nothing(small, until):
    lab = small(CraftLab)
    lab.transport.buttons["step"].click()
    until(lambda: lab.runner.phase is Phase.PAUSED)
    finished(lab, until)
    lab.transport.buttons["reset"].click()
    assert "here" not in lab.status.value


@pytest.mark.parametrize("kind", [CraftLab, VictimsLab, DynamicsLab])
def test_a_network_that_takes_minutes_says_so_beforehand(small, kind):
    assert "roughly" not in small(kind).status.value  # a few seconds: nobody needs to know
    lab = small(kind, network="resnet18", size=32, craft_steps=100, models=8)
    assert re.search(r"ready.*roughly \d+ min here", lab.status.value)


def test_the_menu_of_networks_tells_it_too(small):
    lab = small(CraftLab, size=32, craft_steps=200, models=8)
    lab.controls["network"].menu.value = "vgg13"
    assert "roughly" in lab.status.value
    lab.controls["network"].menu.value = "mlp"
    assert "roughly" not in lab.status.value


def test_multiplications_are_those_of_the_layers():
    assert (
        pace.multiplications(network("mlp", (1, 8, 8), 10), (1, 8, 8)) == 64 * 128 + 128**2 + 1280
    )
    convnet = 16 * 3 * 9 * 32**2 + 32 * 16 * 9 * 16**2 + 32 * 32 * 9 * 8**2
    convnet += 64 * 32 * 9 * 4**2 + 64 * 64 * 9 * 2**2 + 64 * 10
    assert pace.multiplications(network("convnet", (3, 32, 32), 10), (3, 32, 32)) == convnet
    for name in NETWORKS:
        assert pace.multiplications(network(name, (3, 32, 32), 10), (3, 32, 32)) > 10**5
        assert pace.multiplications(network(name, (1, 8, 8), 2), (1, 8, 8)) > 1000


def test_what_trains_a_last_layer_only_is_not_guessed_by_its_network(small):
    lab = small(CraftLab, **SIGNS | {"fine_tune": "last"})
    assert pace.rough(lab.attack, lab.pictures(), 1e9) == 0


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}'])
def test_a_damaged_file_of_paces_costs_nothing(small, text):
    lab = small(CraftLab)
    pace.file().parent.mkdir(parents=True, exist_ok=True)
    pace.file().write_text(text)
    assert pace.seconds("craft", lab.attack, 1.0) is None
    pace.remember("craft", lab.attack, 2.0, 4.0)
    assert pace.seconds("craft", lab.attack, 3.0) == 6.0


def test_a_rival_trains_its_surrogates_once():
    given = {"data": "digits", "budget": 0.1, "models": 3, "epochs": 5}
    at_once = make_attack("ci", **given, method="noise")
    crafted = make_attack("ci", **given, method="bullseye", craft_steps=20)
    assert pace.crafting_work(at_once, 100) == 3 * 5 * 100
    assert pace.crafting_work(crafted, 100) == pytest.approx(3 * (5 * 100 + 20 * 3 * 10))
