"""Labs for the back of the room: the same panel in large type, on a page without code (Voilà)."""

from __future__ import annotations

import ipywidgets as widgets

from mpkit.lab.kit.panel import Lab
from mpkit.lab.kit.tools import ClosingBox

STYLE = """<style>
.mpkit-lecture, .mpkit-lecture .widget-label, .mpkit-lecture .widget-html-content,
.mpkit-lecture button, .mpkit-lecture input, .mpkit-lecture select { font-size: 20px !important; }
.mpkit-lecture .widget-label { width: 210px !important; }
.mpkit-lecture button, .mpkit-lecture input, .mpkit-lecture select,
.mpkit-lecture .widget-hbox { height: auto !important; min-height: 40px; line-height: 38px; }
.mpkit-lecture button { min-width: 110px; }
.mpkit-lecture img[alt] { image-rendering: auto; }
.mpkit-lecture .widget-html-content > img[style*="max-width"] { width: auto !important;
  max-width: 100% !important; max-height: max(420px, calc(100vh - 325px)); }
h1 { font-size: 36px !important; margin: 0 !important; }
</style>"""


def page(lab: Lab) -> widgets.Widget:
    """The lab's panel in large type; build the lab with ``large=True``, for letters in pictures."""
    lab.panel.add_class("mpkit-lecture")
    if lab.runner.mode == "sync":
        lab.runner.run()
    return ClosingBox([widgets.HTML(STYLE), lab.panel], lab.close)
