"""Figures on a dark page: every colour by its counterpart, pictures as they are.

Nothing in a figure knows of it. The colours are exchanged where matplotlib draws, so a lab has one
set of them, and a change of the theme costs one drawing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

DARKEST, LIGHTEST = 0.067, 0.92
"""What white and black become: JupyterLab's dark ground (#111), and letters that do not glare."""
GROUND = "ground"
"""The `gid` of an image that is no picture, but colours a plot."""


def darkened(colours: np.ndarray) -> np.ndarray:
    """Colours (…, 3 or 4) in [0, 1] with their lightness turned round; hue and alpha stay.

    In HLS the lightness is (max + min) / 2, so 1 − max − min turns it round in all three. What is
    between is then lifted a little, as the dark ground is lighter than white is dark.
    """
    found = np.array(colours, dtype=float)
    rgb = found[..., :3]
    turned = rgb + 1 - rgb.max(-1, keepdims=True) - rgb.min(-1, keepdims=True)
    found[..., :3] = DARKEST + (LIGHTEST - DARKEST) * turned * (1.5 - 0.5 * turned)
    return found


@lru_cache(maxsize=1024)
def _one(colour: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(darkened(colour).tolist())


def _face(colour: object) -> object:
    return None if colour is None else _one(tuple(map(float, colour)))


def _all(colours: object) -> object:
    return darkened(colours) if len(colours) else colours


def _context(gc: GraphicsContextBase) -> GraphicsContextBase:
    found = GraphicsContextBase()
    found.copy_properties(gc)
    found.set_foreground(_one(tuple(map(float, gc.get_rgb()))), isRGBA=True)
    return found


class _Dark(RendererAgg):
    def __init__(self, width: float, height: float, dpi: float):
        super().__init__(width, height, dpi)
        agg = self._renderer  # whose methods the base class has made attributes

        def markers(gc, marker, place, path, where, face=None):
            agg.draw_markers(_context(gc), marker, place, path, where, _face(face))

        def collection(gc, place, paths, places, offsets, where, faces, edges, *rest, **more):
            colours = _all(faces), _all(edges)
            agg.draw_path_collection(
                _context(gc), place, paths, places, offsets, where, *colours, *rest, **more
            )

        def mesh(gc, place, wide, high, at, offsets, where, faces, smooth, edges):
            colours = _all(faces), smooth, _all(edges)
            agg.draw_quad_mesh(_context(gc), place, wide, high, at, offsets, where, *colours)

        def image(gc, x, y, pixels, *rest):
            if gc.get_gid() == GROUND:
                pixels = (255 * darkened(pixels / 255)).round().astype(np.uint8)
            agg.draw_image(gc, x, y, pixels, *rest)

        self.draw_markers, self.draw_path_collection = markers, collection
        self.draw_quad_mesh, self.draw_image = mesh, image

    def draw_path(self, gc, path, transform, rgbFace=None):
        super().draw_path(_context(gc), path, transform, _face(rgbFace))

    def draw_text(self, gc, *text, **more):
        super().draw_text(_context(gc), *text, **more)


class Screen(FigureCanvasAgg):
    """matplotlib's canvas; while `dark`, for a dark page."""

    dark = False
    _made: tuple = ()

    def get_renderer(self) -> RendererAgg:
        """One for this size and this page, kept until either changes."""
        size = *self.figure.bbox.size, self.figure.dpi
        if self._made != (*size, self.dark):
            self.renderer = (_Dark if self.dark else RendererAgg)(*size)
            self._made = *size, self.dark
        return self.renderer
