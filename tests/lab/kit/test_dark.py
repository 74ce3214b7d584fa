"""Figures for a dark page: colours turned round, pictures as they are."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from mpkit.lab.kit import canvas as looks
from mpkit.lab.kit.canvas import Canvas, new_figure
from mpkit.lab.kit.dark import DARKEST, GROUND, LIGHTEST, darkened


def rgb(name: str) -> np.ndarray:
    return np.array([int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def luminance(colour: np.ndarray) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_white_and_black_change_places_and_alpha_stays():
    found = darkened(np.array([[1, 1, 1, 0.8], [0, 0, 0, 0.3]]))
    np.testing.assert_allclose(found, [[DARKEST] * 3 + [0.8], [LIGHTEST] * 3 + [0.3]])


@pytest.mark.parametrize(
    "name", ["BLACK", "ORANGE", "SKY", "GREEN", "BLUE", "RED", "PURPLE", "GREY", "YELLOW"]
)
def test_every_colour_is_seen_on_the_dark_ground(name):
    contrast = (luminance(darkened(rgb(getattr(looks, name)))) + 0.05) / (
        luminance(np.full(3, DARKEST)) + 0.05
    )
    assert contrast >= 3  # as graphics must have: WCAG 2.1, 1.4.11


def drawn(canvas: Canvas) -> np.ndarray:
    canvas._render()
    return np.asarray(canvas.figure.canvas.buffer_rgba())[..., :3] / 255


COLOUR = (0.2, 0.4, 0.6)
FLAT = np.full((2, 2, 3), COLOUR)
KINDS = {
    "a patch": lambda axes: axes.add_patch(Rectangle((0.2, 0.2), 0.6, 0.6, color=COLOUR)),
    "a line": lambda axes: axes.plot([0, 1], [0, 1], color=COLOUR, lw=9),
    "markers": lambda axes: axes.plot([0.2, 0.7], [0.5, 0.5], "s", color=COLOUR, ms=30),
    "dots": lambda axes: axes.scatter([0.2, 0.7], [0.5, 0.5], [300, 500], color=[COLOUR]),
    "arrows": lambda axes: axes.quiver([0.5], [0.5], [1], [0], color=COLOUR, width=0.1),
    "a mesh": lambda axes: axes.pcolormesh([[0, 0]], cmap=ListedColormap([COLOUR])),
    "contours": lambda axes: axes.contourf([[0, 0], [1, 1]], 1, colors=[COLOUR]),
    "words": lambda axes: axes.text(0.1, 0.1, "MMM", size=60, color=COLOUR),
    "a formula": lambda axes: axes.text(0.1, 0.1, r"$\frac{M}{M}$", size=60, color=COLOUR),
    "a ground": lambda axes: axes.imshow(FLAT, gid=GROUND),
}


def has(pixels: np.ndarray, colour: np.ndarray) -> bool:
    return bool((np.abs(pixels - colour).max(-1) < 0.01).any())


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_drawn_turns(kind):
    figure = new_figure(2, 2)
    KINDS[kind](figure.add_subplot())
    canvas, turned = Canvas(figure, lambda: ""), darkened(np.array(COLOUR))
    light = drawn(canvas)
    canvas.turn(dark=True)
    dark = drawn(canvas)
    assert has(light, COLOUR)
    assert not has(light, turned)
    assert has(dark, turned)
    assert not has(dark, COLOUR)


def test_pictures_stay_as_they_are():
    figure = new_figure(2, 2)
    figure.add_subplot().imshow(FLAT)
    canvas = Canvas(figure, lambda: "")
    canvas.turn(dark=True)
    assert has(drawn(canvas), COLOUR)


def test_the_page_turns_in_mid_run_with_what_moves():
    figure = new_figure(2, 1)
    axes = figure.add_subplot()
    (line,) = axes.plot([0, 1], [0, 1], color="black")
    canvas = Canvas(figure, lambda: "", moving=lambda: [line])
    canvas.draw()
    light, frames = drawn(canvas), canvas.frames
    canvas.turn(dark=True)
    canvas.turn(dark=True)  # told again: nothing to do
    assert canvas.frames == frames + 1
    line.set_ydata([1, 0])  # over the ground that is kept
    dark = drawn(canvas)
    assert dark.mean() < 0.2 < 0.8 < light.mean()
    assert dark.max() > 0.8  # and the line is light
    canvas.turn(dark=False)
    line.set_ydata([0, 1])
    np.testing.assert_array_equal(drawn(canvas), light)


def test_a_picture_that_is_saved_is_on_white():
    figure = new_figure(2, 1)
    figure.add_subplot().plot([0, 1])
    canvas = Canvas(figure, lambda: "")
    light = canvas.png()
    canvas.turn(dark=True)
    dark = drawn(canvas)
    assert canvas.png() == light
    np.testing.assert_array_equal(drawn(canvas), dark)
