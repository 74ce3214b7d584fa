"""Frames: as many as there is time for, with words."""

from __future__ import annotations

import time

from mpkit.lab.canvas import Canvas, new_figure


def made(alt="a plot", **options):
    figure = new_figure(2, 1)
    figure.add_subplot()
    return Canvas(figure, lambda: alt, **options)


def test_a_frame_is_an_image_with_words():
    canvas = made('loss of "7" < 0 & falling')
    canvas.draw()
    assert canvas.widget.value.startswith('<img alt="loss of &quot;7&quot; &lt; 0 &amp; falling"')
    assert "data:image/png;base64,iVBOR" in canvas.widget.value
    assert canvas.png().startswith(b"\x89PNG")


def test_frames_that_come_too_early_are_dropped():
    canvas = made(interval=10)
    assert [canvas.update() for _ in range(20)] == [True] + [False] * 19
    canvas.draw()
    assert canvas.frames == 2


def test_drawing_keeps_to_its_share():
    canvas = made(share=0.1, interval=0)
    canvas.figure.canvas.print_png = lambda file, **_: time.sleep(0.02)
    began = time.perf_counter()
    while time.perf_counter() - began < 1.5:
        canvas.update()
        time.sleep(0.001)
    assert canvas.frames >= 3
    # One frame more than its share may have been drawn at the end.
    assert canvas.spent - canvas.cost <= 0.1 * (time.perf_counter() - began)


def test_large_letters_are_for_the_lecture_room():
    from mpkit.lab.canvas import font_size

    assert font_size(new_figure(2, 1, large=True)) == 1.5 * font_size(new_figure(2, 1))
