"""Poisons that are touched: enlarged, taken out for the next victim, and put back."""

from __future__ import annotations

import pytest
import torch

from mpkit.lab.kit.gallery import levels
from mpkit.lab.kit.touch import TO_TAKE_OUT, UNTOUCHED, Exhibit, filmed, said_of
from mpkit.metapoison import Pull
from mpkit.runs.prepared import load_scenario
from tests.lab.conftest import small_attack

pytestmark = pytest.mark.usefixtures("unpainted")


@pytest.fixture(scope="module")
def scenario():
    return load_scenario(small_attack(budget=0.2), progress=False)


@pytest.fixture
def exhibit(heard, scenario):
    found = Exhibit(heard.append, lambda: heard.append("told"), columns=5)
    found.lay_out(scenario, "1")
    yield found
    found.widget.close()


@pytest.fixture
def pull(scenario):
    gradient = torch.zeros_like(scenario.base_images)
    gradient[3, 0, 2, 5] = -2.0
    return Pull(gradient, torch.arange(12.0) - 1)


def poisons(scenario):
    return (levels(scenario.base_images).int() + 9).clamp(0, 255).to(torch.uint8)


def seen(widget) -> bool:
    return widget.layout.display != "none"


def test_a_press_enlarges_a_poison_and_another_one_lets_go(exhibit, scenario, pull):
    assert not seen(exhibit.touched)
    exhibit.show(poisons(scenario), 9 / 255, pull)
    assert seen(exhibit.hint)
    assert exhibit.hint.value == f"{UNTOUCHED}{TO_TAKE_OUT}."
    exhibit.gallery.press(3)
    assert seen(exhibit.touched)
    assert exhibit.gallery.picked == 3
    assert exhibit.row.captions == ["base", "change ×14", "poison", "−∂L_adv/∂pixel"]
    size = scenario.base_images[0].numel()
    base, _, poison, gradient = (exhibit.row.pixels[i * size : (i + 1) * size] for i in range(4))
    assert base == levels(scenario.base_images[3]).numpy().tobytes()
    assert poison == poisons(scenario)[3].numpy().tobytes()
    assert max(gradient) == gradient[2 * scenario.train.shape[2] + 5] == 255  # brighter is better
    assert sorted(gradient)[-2] == 128
    exhibit.gallery.press(3)
    assert not seen(exhibit.touched)
    assert exhibit.gallery.picked == -1


def test_its_influence_is_told_in_words_and_under_each(exhibit, scenario, pull):
    exhibit.show(poisons(scenario), 9 / 255, pull)
    assert exhibit.gallery.captions == ["-1", "+0", "+1", "+2", "+3"]
    exhibit.show(poisons(scenario), 9 / 255, Pull(pull.gradient, -0.0 * pull.influence))
    assert set(exhibit.gallery.captions) == {"+0"}  # nothing less than nothing
    exhibit.show(poisons(scenario), 9 / 255, pull)
    exhibit.pick(3)
    assert "would rise by about 2 " in exhibit.words.value
    assert "number 9 of 12" in exhibit.words.value
    exhibit.pick(0)
    assert "would fall by about 1 " in exhibit.words.value
    exhibit.show(poisons(scenario), 9 / 255)  # as of a run that was read from a folder
    assert "while poisons are crafted" in exhibit.words.value
    assert exhibit.gallery.captions == []
    assert len(exhibit.row.captions) == 3


def test_taken_out_is_told_everywhere_and_put_back_again(exhibit, scenario, pull, heard):
    exhibit.show(poisons(scenario), 9 / 255, pull)
    exhibit.pick(3)
    assert exhibit.button.description == "Take it out"
    exhibit.button.click()
    assert (exhibit.gallery.out, heard) == ([3], ["told"])
    assert exhibit.left_out == ", without poison 4"
    for words in (exhibit.describe(), exhibit.gallery.label):
        assert "The next victim trains, without poison 4" in words
    assert "trains on its base picture instead" in exhibit.words.value
    assert "trains on the base" in exhibit.row.names[2]
    exhibit.pick(7)
    assert exhibit.button.description == "Take it out"
    exhibit.button.click()
    assert exhibit.left_out == ", without poisons 4 and 8"
    exhibit.button.click()
    exhibit.pick(3)
    assert exhibit.button.description == "Put it back"
    exhibit.button.click()
    assert (exhibit.left_out, exhibit.gallery.out) == ("", [])


def test_the_base_stands_in_the_place_of_what_is_taken_out(exhibit, scenario):
    changed = scenario.poisoned(poisons(scenario).float() / 255)
    assert exhibit.now()[0](scenario, changed) is changed
    exhibit.pick(3)
    exhibit.toggle()
    without, words = exhibit.now()
    exhibit.toggle()  # whoever has begun goes on as it began
    given = without(scenario, changed)
    assert words == ", without poison 4"
    row = int(scenario.bases[3])
    assert torch.equal(given[row], scenario.train.x[row])
    assert not torch.equal(changed[row], scenario.train.x[row])
    others = torch.arange(len(changed)) != row
    assert torch.equal(given[others], changed[others])


def test_what_is_taken_out_stays_out_while_the_bases_are_the_same(exhibit, scenario):
    exhibit.pick(3)
    exhibit.toggle()
    exhibit.lay_out(scenario, "1")
    assert exhibit.gallery.out == [3]
    other = load_scenario(small_attack(budget=0.1), progress=False)
    exhibit.lay_out(other, "1")
    assert (exhibit.gallery.out, exhibit.picked) == ([], -1)


def test_pages_are_turned_where_there_are_several(exhibit, scenario, pull):
    assert seen(exhibit.page.widget)
    exhibit.show(poisons(scenario), 9 / 255, pull)
    exhibit.page.slider.value = 3
    assert exhibit.gallery.first == 10
    assert exhibit.gallery.captions == ["+9", "+10"]
    assert "poisons 11 to 12 of 12" in exhibit.gallery.label
    exhibit.lay_out(load_scenario(small_attack(budget=0.05), progress=False), "1")
    assert not seen(exhibit.page.widget)


def test_what_a_picture_is_called_is_its_likeliest_class():
    assert said_of(("a", "b"), [0.25, 0.75]) == "called b, 75%"


def test_a_film_keeps_what_a_gradients_picture_needs(exhibit, scenario, pull):
    small = Pull(1e-9 * pull.gradient, pull.influence)
    pixels = []
    for given in (pull, small, filmed(small)):
        exhibit.show(poisons(scenario), 9 / 255, given)
        exhibit.picked = 3
        exhibit.show(poisons(scenario), 9 / 255, given)
        pixels.append(exhibit.row.pixels)
    assert pixels[0] == pixels[2]
    assert filmed(small).gradient.dtype == torch.float16


def test_where_no_victim_comes_nothing_is_taken_out(heard):
    exhibit = Exhibit(heard.append)
    assert not seen(exhibit.button)
    assert TO_TAKE_OUT not in exhibit.hint.value
    exhibit.widget.close()
