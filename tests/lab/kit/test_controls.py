"""Controls: sliders and boxes agree, and refuse in words."""

from __future__ import annotations

import math
import random

import ipywidgets as widgets
import pytest
import torch

from mpkit.lab.kit.controls import Choice, Number, Thumbnails, Transport
from mpkit.lab.kit.runner import Phase, Runner
from mpkit.lab.kit.tools import fold
from tests.lab.conftest import Browser


@pytest.fixture
def said():
    return []


def test_slider_and_box_say_the_same(heard, said):
    number = Number("K", 3, 1, 8, heard.append, said.append)
    number.slider.value = 5
    assert (number.box.value, heard) == (5, [5])
    number.box.value = 2
    assert (number.slider.value, heard) == (2, [5, 2])
    assert said == []


@pytest.mark.parametrize("bad", [0, 9, -100, 10**9])
def test_what_is_out_of_range_is_refused_in_words(heard, said, bad):
    number = Number("K", 3, 1, 8, heard.append, said.append)
    number.box.value = bad
    assert (number.box.value, number.slider.value, heard) == (3, 3, [])
    assert said == [f"K must lie between 1 and 8, not {bad}."]


@pytest.mark.parametrize("bad", [2.7, float("nan"), float("inf")])
def test_a_whole_number_is_not_rounded(heard, said, bad):
    number = Number("K", 3, 1, 8, heard.append, said.append)
    number.box.value = bad
    assert (number.box.value, number.slider.value, heard) == (3, 3, [])
    assert said == [f"K must be a whole number, not {bad}."]
    number.box.value = 4.0
    assert [(v, type(v)) for v in heard] == [(4, int)]
    assert number.slider.value == 4


def test_no_number_is_refused(heard, said):
    number = Number("rate", 0.1, 0.01, 1, heard.append, said.append, step=0.01)
    number.box.value = float("nan")
    assert (number.box.value, heard) == (0.1, [])
    assert "not nan" in said[0]


def test_what_the_settings_refuse_goes_back(said):
    def turn(value):
        raise ValueError(f"{value} does not fit")

    number = Number("K", 3, 1, 8, turn, said.append)
    number.slider.value = 4
    assert (number.slider.value, number.box.value, said) == (3, 3, ["4 does not fit"])


def test_fractions_stay_readable(heard, said):
    number = Number("rate", 0.1, 0.01, 1, heard.append, said.append, step=0.01)
    number.slider.value = 0.30000000000000004
    assert heard == [0.3]
    assert number.box.value == 0.3


RANGES = (
    (-2.4, 2.4, 0.05),
    (0.05, 2, 0.05),
    (0.05, 2, 0.1),
    (0, 0.9, 0.4),
    (0.01, 0.5, 0.01),
    (0.0, 0.01, 0.0001),
    (0.0005, 0.5, 0.01),
    (1, 64, 1),
    (1, 10, 4),
    (0, 999, 1),
    (1, 1, 1),
)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(("low", "high", "step"), RANGES)
def test_a_value_that_is_shown_survives_its_echo(heard, said, low, high, step, noisy):
    draw = random.Random(step)
    number = Number("x", low, low, high, heard.append, said.append, step=step)
    browser = Browser(number, noisy=noisy)
    browser.answer()
    for _ in range(100):
        value = draw.uniform(low - 0.3 * (high - low) - step, high + 0.3 * (high - low) + step)
        value = draw.choice((value, value, round(value), low, high, 255 * (round(value) / 255)))
        number.show(value)
        browser.answer()
        Browser(number, noisy=noisy).answer()  # it is drawn anew, as where a page is reloaded
        browser = Browser(number, noisy=noisy)
        assert (number.value, number.box.value) == (value, value)
    assert (heard, said) == ([], [])


@pytest.mark.parametrize(("low", "high", "step"), RANGES)
def test_values_shown_one_after_the_other_leave_nothing_to_send_back(heard, low, high, step):
    draw = random.Random(step)
    number = Number("x", low, low, high, heard.append, heard.append, step=step)
    browser = Browser(number)
    for _ in range(200):
        number.show(draw.uniform(low - step, high + step))
    shown = number.value
    browser.answer()  # an echo that comes late would be taken for a move
    assert (number.value, heard) == (shown, [])


@pytest.mark.parametrize("value", [0.6517399, 5.0, -7.25])
def test_the_first_value_survives_its_echo_too(heard, said, value):
    number = Number("x", value, -2.4, 2.4, heard.append, said.append, step=0.05)
    Browser(number).answer()
    assert (number.value, number.box.value, heard, said) == (value, value, [], [])


@pytest.mark.parametrize("ulps", [-2, -1, 1, 2])
def test_the_last_digit_of_an_echo_is_neither_heard_nor_answered(heard, said, ulps):
    number = Number("x", 0, -2.4, 2.4, heard.append, said.append, step=0.05)
    for k in range(97):
        number.show(round(-2.4 + 0.05 * k, 2))
        echo = number.slider.value + ulps * math.ulp(number.slider.value)
        echo = min(max(echo, -2.4), 2.4)
        number.slider.value = echo
        assert number.slider.value == echo  # another answer would be echoed again, and so on
        assert number.value == round(-2.4 + 0.05 * k, 2)
    assert (heard, said) == ([], [])


@pytest.mark.parametrize(("low", "high", "step"), [r for r in RANGES if r[0] < r[1]])
def test_a_move_to_another_place_acts_and_the_way_back_as_well(heard, said, low, high, step):
    number = Number("x", low, low, high, heard.append, said.append, step=step)
    value = low + 0.3 * step
    number.show(value)
    Browser(number).answer()
    for there in (low + step, low):
        number.slider.value = there
        assert heard[-1] == pytest.approx(there, abs=10**-number.digits)
        assert (number.value, number.box.value) == (heard[-1], heard[-1])
    assert (len(heard), said) == (2, [])


def test_a_refused_move_leaves_what_is_in_force(said):
    def turn(value):
        raise ValueError("not now")

    number = Number("x", 0.6517399, -2.4, 2.4, turn, said.append, step=0.05)
    browser = Browser(number)
    browser.answer()
    number.slider.set_state({"value": 1.0})
    browser.answer()
    assert (number.value, number.box.value, said) == (0.6517399, 0.6517399, ["not now"])
    assert number.slider.value == browser.seen[number.slider]["value"] == pytest.approx(0.65)


@pytest.mark.parametrize("value", [1, 2, 3])
def test_another_range_and_value_are_one_to_the_browser(heard, said, value):
    number = Number("page", 5, 1, 6, heard.append, said.append)
    browser = Browser(number)
    browser.answer()
    number.limit(1, 3, value)  # a browser that saw the range first would send back 3
    browser.answer()
    assert (number.value, number.slider.value, number.slider.max) == (value, value, 3)
    number.limit(2, 2)
    browser.answer()
    assert (number.value, number.slider.value, heard, said) == (2, 2, [], [])


def test_a_choice_goes_back_too(said):
    def turn(value):
        if value == "b":
            raise ValueError("not b")

    choice = Choice("network", ["a", "b", "c"], "a", turn, said.append)
    choice.menu.value = "c"
    choice.menu.value = "b"
    assert (choice.menu.value, said) == ("c", ["not b"])


def test_a_thumbnail_is_picked_by_pressing_it(heard, said):
    faces = Thumbnails(
        "target", torch.rand(3, 1, 8, 8), ["0", "<1>", "2"], 0, heard.append, said.append
    )
    faces.row.press(1)
    assert (heard, faces.value, faces.row.picked) == ([1], 1, 1)
    assert faces.row.names[1] == "target: <1>"
    faces.enable(False)
    faces.row.press(0)
    assert heard == [1]


def test_buttons_are_enabled_where_they_do_something():
    runner = Runner(lambda: iter(range(3)), mode="thread")
    transport = Transport(runner)
    wanted = {
        Phase.READY: {"run", "step"},
        Phase.RUNNING: {"pause", "stop", "reset"},
        Phase.PAUSING: {"stop", "reset"},
        Phase.PAUSED: {"run", "step", "stop", "reset"},
        Phase.STOPPING: {"reset"},
        Phase.STOPPED: {"reset"},
        Phase.DONE: {"reset"},
        Phase.FAILED: {"reset"},
    }
    assert set(wanted) == set(Phase)
    for phase, names in wanted.items():
        runner.phase = phase
        transport.refresh()
        assert {n for n, b in transport.buttons.items() if not b.disabled} == names
    assert list(transport.buttons) == ["run", "pause", "step", "stop", "reset"]
    runner.phase = Phase.READY
    transport.refresh(allowed=False)
    assert all(b.disabled for b in transport.buttons.values())


def test_a_fold_opens_and_closes():
    folded = fold("more", [widgets.Label("inside")])
    opener, inside = folded.children
    assert inside.layout.display == "none"
    opener.value = True
    assert inside.layout.display != "none"
    opener.value = False
    assert inside.layout.display == "none"


def test_a_value_far_outside_the_range_leaves_the_slider_its_fine_places(heard, said):
    number = Number("ε", 255, 0, 64, heard.append, said.append)
    browser = Browser(number)
    browser.answer()
    assert (number.value, number.box.value) == (255, 255)
    assert (number.slider.value, number.slider.max) == (64, 64)
    number.slider.value = 40  # every move of the slider acts
    number.box.value = 200  # and the box takes all that was in force
    assert (heard, number.slider.value, said) == ([40, 200], 64, [])
    number.box.value = 256
    assert said == ["ε must lie between 0 and 255, not 256."]
    number.show(100)
    number.limit(0, 64)
    number.box.value = 100
    assert said[-1] == "ε must lie between 0 and 64, not 100."


def test_a_value_a_little_outside_the_range_widens_the_slider(heard, said):
    number = Number("K", 12, 1, 10, heard.append, said.append)
    assert (number.slider.max, number.slider.value) == (12, 12)
    number.show(20)
    assert (number.slider.max, number.slider.value) == (12, 12)


@pytest.mark.parametrize("noisy", [False, True])
def test_what_was_shown_in_haste_is_not_answered_without_end(heard, noisy):
    number = Number("lr", 0.3, 0.0, 1.0, heard.append, lambda _: None, step=0.05)
    browser = Browser(number, noisy=noisy)
    browser.answer()
    for value in (0.15, 0.35, 0.15, 0.6):  # all of them before the browser says a word
        number.show(value)
    browser.answer()
    assert (heard, number.value, number.box.value) == ([], 0.6, 0.6)
    assert number.slider.value == pytest.approx(0.6)
    hand = 0.35000000000000003 if noisy else number._place(0.35)
    number.slider.set_state({"value": hand})
    browser.answer()
    assert (heard, number.value) == ([0.35], 0.35)


@pytest.mark.parametrize("seed", range(10))
def test_late_answers_are_no_moves_in_whatever_order_they_come(heard, seed):
    draw = random.Random(seed)
    number = Number("lr", 0.3, 0.0, 1.0, heard.append, lambda _: None, step=0.05)
    browser, replies = Browser(number, noisy=True), []

    def pass_on() -> None:
        if browser.sent and (not replies or draw.random() < 0.5):
            slider, state = browser.sent.pop(0)
            replies.extend((slider, reply) for reply in browser._drawn(slider, state))
        elif replies:
            slider, reply = replies.pop(0)
            slider.set_state({"value": reply})

    for _ in range(60):
        number.show(shown := draw.choice([0.15, 0.35, 0.6, 0.7, 0.55, 0.123]))
        pass_on()
    for _ in range(1000):
        pass_on()
    assert not browser.sent
    assert not replies
    assert (heard, number.value, number.box.value) == ([], shown, shown)
