"""Frames: as many as there is time for, with words."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from mpkit.lab.kit import canvas as canvas_of_a_lab
from mpkit.lab.kit.canvas import Canvas, new_figure


def made(alt="a plot", **options):
    figure = new_figure(2, 1)
    figure.add_subplot()
    return Canvas(figure, lambda: alt, **options)


def test_a_frame_is_an_image_with_words():
    canvas = made('loss of "7" < 0 & falling')
    canvas.draw()
    assert canvas.widget.value.startswith('<img alt="loss of &quot;7&quot; &lt; 0 &amp; falling"')
    assert "data:image/jpeg;base64,/9j/" in canvas.widget.value
    assert canvas.png().startswith(b"\x89PNG")


def test_frames_that_come_too_early_are_dropped():
    canvas = made(interval=10)
    assert [canvas.update() for _ in range(20)] == [True] + [False] * 19
    canvas.draw()
    assert canvas.frames == 2


def test_the_first_point_of_a_run_is_drawn_however_long_the_last_frame_took():
    canvas = made(interval=1000)
    canvas.draw()
    assert not canvas.update()
    canvas.hurry()
    assert canvas.update()
    assert not canvas.update()


def test_drawing_keeps_to_its_share(monkeypatch):
    """By a clock of its own: a frame takes 20 ms, and updates are asked for every millisecond."""
    clock = [0.0]
    monkeypatch.setattr(canvas_of_a_lab, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    canvas = made(load=0.1, interval=0)

    def render():
        clock[0] += 0.02
        canvas.figure.canvas.draw()

    canvas._render = render
    while clock[0] < 3:
        canvas.update()
        clock[0] += 0.001
    assert 0.08 <= canvas.spent / clock[0] <= 0.1 + 0.02 / 3


def test_large_letters_are_for_the_lecture_room():
    from mpkit.lab.kit.canvas import font_size

    assert font_size(new_figure(2, 1, large=True)) == 1.5 * font_size(new_figure(2, 1))


def test_what_moves_over_a_kept_ground_is_what_a_whole_drawing_shows():
    figure = new_figure(3, 2)
    axes = figure.add_subplot()
    (line,) = axes.plot([0, 1], [0, 1])
    axes.set(xlim=(0, 1), ylim=(0, 2))
    canvas = Canvas(figure, lambda: "", moving=lambda: [line])
    pictures = []
    for top, y in ((2, 0.5), (2, 1.5), (3, 1.5), (3, 2.5)):
        axes.set_ylim(0, top)
        line.set_ydata([0, y])
        moved = canvas.png()
        fresh = Canvas(figure, lambda: "", moving=lambda: [line]).png()
        assert moved == fresh
        pictures.append(moved)
    assert len(set(pictures)) == 4


def slow(**options):
    """A canvas whose frames wait for an event; and when one has begun."""
    canvas, begun, go = made(**options), threading.Semaphore(0), threading.Event()

    def render() -> None:
        begun.release()
        assert go.wait(30)
        canvas.figure.canvas.draw()

    canvas._render = render
    return canvas, begun, go


def test_nobody_waits_for_a_frame_of_later_and_what_is_overtaken_is_dropped():
    canvas, begun, go = slow(interval=0, load=1)
    canvas.later()
    assert begun.acquire(timeout=30)
    for _ in range(20):
        canvas.later()
    worker = canvas._thread
    go.set()
    worker.join(30)
    assert (canvas.frames, canvas._thread) == (2, None)


def test_what_a_hand_changes_is_drawn_at_once_and_what_follows_half_of_the_time(monkeypatch, until):
    clock = [10.0]
    monkeypatch.setattr(canvas_of_a_lab, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    canvas = made(interval=1000)
    canvas._ended, canvas.cost = 10.0, 0.5
    assert canvas._early() == 1000
    canvas._hand = True
    assert canvas._early() == 0.5
    clock[0] = 10.5
    canvas.soon()
    until(lambda: canvas.frames == 1)
    canvas.stop()


def test_a_frame_drawn_meanwhile_is_the_one_that_was_asked_for():
    canvas = made(interval=1000)
    canvas.draw()
    canvas.later()
    canvas.draw()
    worker = canvas._thread
    canvas.hurry()
    worker.join(30)
    assert canvas.frames == 2


def test_a_hurry_during_a_frame_is_for_the_next_one():
    canvas, begun, go = slow(interval=1000)
    canvas.later()
    assert begun.acquire(timeout=30)
    worker = canvas._thread
    canvas.hurry()
    canvas.later()
    go.set()
    assert begun.acquire(timeout=30)
    canvas.stop()
    assert not worker.is_alive()
    assert canvas.frames == 2


def test_what_is_stopped_draws_nothing_later():
    canvas = made(interval=1000)
    canvas.draw()
    canvas.later()
    worker = canvas._thread
    canvas.stop()
    assert not worker.is_alive()
    canvas.later()
    assert (canvas.frames, canvas._thread) == (1, None)
    canvas.draw()  # by hand as ever


def test_what_went_wrong_later_is_raised_once():
    canvas = made()
    canvas.fresh = lambda: 1 / 0
    canvas.later()
    if worker := canvas._thread:
        worker.join(30)
    with pytest.raises(ZeroDivisionError):
        canvas.later()
    assert (canvas.failed, canvas._thread, canvas.frames) == (None, None, 0)
