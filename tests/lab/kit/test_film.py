"""What a film keeps of a run, and looking back at it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mpkit.lab import CraftLab
from mpkit.lab.kit.film import MEGABYTES, Film, FilmBar, weight
from mpkit.lab.kit.runner import Phase
from tests.lab.conftest import crafted, finished, press

pytestmark = pytest.mark.usefixtures("unpainted")


def film_of(count: int, megabytes: float, size: int = 1000) -> Film:
    film = Film(megabytes)
    for step in range(1, count + 1):
        film.add(step, np.full(size, step % 251, np.uint8))
    return film


def test_what_a_frame_weighs():
    rows = torch.zeros(10, 1000, dtype=torch.uint8)
    assert weight(rows) == 10_000
    assert weight(rows[0]) == 10_000  # the rest cannot go as long as this is held
    assert weight((np.zeros(5), [rows, {"a": rows}])) == 40 + 20_000
    assert weight(3) > 0


def test_all_is_kept_as_long_as_there_is_room():
    film = film_of(50, 1)
    assert list(film.frames) == list(range(1, 51))
    assert (film.size, film.every, film.note) == (50_000, 1, "")


@pytest.mark.parametrize("count", [51, 100, 101, 333])
def test_beyond_the_limit_every_second_frame_goes_and_that_is_said(count):
    film = film_of(count, 0.05)
    steps = list(film.frames)
    assert film.size == 1000 * len(steps) <= 50_000
    assert len(steps) >= 20
    assert (steps[0], steps[-1]) == (1, count)
    assert {b - a for a, b in itertools.pairwise(steps[:-1])} == {film.every}
    assert film.note == f"One step in {film.every} is kept: a film takes at most 0.05 MB."
    assert all(frame[0] == step % 251 for step, frame in film.frames.items())


def test_a_film_whose_frames_are_larger_than_all_room_has_its_first_and_last():
    assert list(film_of(9, 1e-9).frames) == [1, 9]


def test_one_looks_back_at_the_last_frame_up_to_a_step():
    film = film_of(100, 0.05)
    assert (film.live, film.at, film.seen[0]) == (True, 100, 100)
    film.seek(41)
    assert not film.live
    assert film.at in film.frames
    assert 41 - film.every < film.at <= 41
    assert film.seen[0] == film.at
    film.seek(-5)
    assert film.at == 1
    film.seek(100)
    assert film.live


def test_what_is_looked_at_stays_when_it_is_no_longer_kept():
    film = film_of(30, 0.05)
    film.seek(2)
    for step in range(31, 200):
        film.add(step, np.full(1000, 7, np.uint8))
    assert 2 not in film.frames
    assert (film.at, film.seen[0]) == (2, 2)


def test_the_slider_asks_and_never_answers_what_it_is_set_to():
    asked, sent = [], []
    bar = FilmBar(asked.append)
    bar.send = sent.append
    film = film_of(5, 1)
    bar.show(film, "step 5")
    assert (bar.first, bar.last, bar.at, bar.live, bar.words) == (1, 5, 5, True, "step 5")
    bar.set_state({"at": 3, "last": 3, "live": False})  # as a browser's echo would
    assert not asked
    bar._handle_custom_msg({"step": 3}, [])
    assert (asked, sent) == ([3], ["shown"])
    bar.asked = lambda step: 1 / 0
    bar._handle_custom_msg({"step": 4}, [])
    assert sent == ["shown"] * 2  # a slider that waits for an answer would be dead
    bar.close()


# ── in a lab ────────────────────────────────────────────────────────────────────────────────────


def shown(lab) -> list:
    """What a CraftLab's panel shows: words, curve, poisons, bars."""
    return [
        lab.describe(),
        lab.canvas.widget.value.partition('" style=')[0],
        list(lab.view.losses.mean.get_ydata()),
        lab.exhibit.gallery.poisons,
        [bar.get_width() for bar in lab.view.bars.bars],
    ]


def test_everything_follows_back_and_forth_after_the_end(lab, until):
    seen = {}
    for step in range(1, 4):
        press(lab, "step")
        until(lambda step=step: lab.runner.steps == step and lab.runner.phase is Phase.PAUSED)
        until(lambda step=step: f"After craft step {step} " in lab.canvas.widget.value)
        seen[step] = shown(lab)
    finished(lab, until)
    until(lambda: "After craft step 6 " in lab.canvas.widget.value)
    end = shown(lab)
    for step in (2, 1, 3, 1):
        lab.scrub(step)
        assert shown(lab) == seen[step]
        assert f"looking back at craft step {step}" in lab.status.value
        assert (lab.bar.at, lab.bar.live) == (step, False)
        assert list(lab.view.losses.head.line.get_xdata()) == [step, step]
        later = [r.loss for r in lab.records[step - 1 :]]
        assert list(lab.view.losses.head.later.get_ydata()) == later
    lab.scrub(6)
    assert shown(lab) == end
    assert lab.bar.live
    assert "looking back" not in lab.status.value
    assert not len(lab.view.losses.head.later.get_ydata())


def test_a_run_goes_on_while_one_looks_back(lab, until):
    press(lab, "step")
    until(lambda: lab.runner.phase is Phase.PAUSED)
    press(lab, "step")
    until(lambda: lab.runner.steps == 2 and lab.runner.phase is Phase.PAUSED)
    lab.scrub(1)
    back = shown(lab)
    losses = crafted(lab, until)
    assert shown(lab) == back
    assert (lab.bar.at, lab.bar.last, lab.bar.live) == (1, 6, False)
    assert "<b>done</b> · craft step 6 of 6" in lab.status.value
    press(lab, "reset")
    assert (lab.bar.last, lab.bar.live, lab.film.frames) == (0, True, {})
    lab.scrub(3)  # nothing is there
    assert "Nothing has run yet" in lab.describe()
    assert crafted(lab, until) == losses


def test_poisons_that_others_take_are_those_of_the_run(lab, until):
    finished(lab, until)
    poisons = lab.poisons()
    lab.scrub(1)
    assert torch.equal(lab.poisons(), poisons)
    assert not torch.equal(lab.seen.poisons, poisons)
    lab.page.turn(1)
    assert "After craft step 1 " in lab.canvas.widget.value


def test_a_victim_takes_the_poisons_that_are_shown_and_its_epochs_are_looked_back_at(lab, until):
    finished(lab, until)
    lab.scrub(2)
    victim = lab.victim
    victim.start()
    until(lambda: victim.runner.phase.ended)
    until(lambda: "after epoch 3 " in victim.canvas.widget.value)
    assert "poisons of craft step 2 of 6" in victim.describe()
    assert torch.equal(victim._run[1][lab.scenario.bases], lab.seen.poisons.float() / 255)
    victim.scrub(1)
    assert "after epoch 1 " in victim.describe()
    assert "after epoch 1 " in victim.canvas.widget.value
    assert list(victim.lines["true"].get_ydata()) == [victim.points[0].true]
    assert not lab.film.live
    victim.scrub(3)
    assert list(victim.lines["true"].get_ydata()) == [p.true for p in victim.points]


def test_a_film_that_outgrows_its_room_says_so_in_the_panel(small, until):
    lab = small(CraftLab, craft_steps=12)
    lab.film.megabytes = 5 * (weight(lab.scenario.base_images) / 4 + 500) / 1e6
    finished(lab, until)
    assert len(lab.film.frames) < 12
    assert lab.bar.note == lab.film.note != ""
    assert MEGABYTES == 64
