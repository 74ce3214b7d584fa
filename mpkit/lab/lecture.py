"""Labs for the back of the room: the same panel in large type, on a page without code (Voilà)."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import ipywidgets as widgets

from mpkit.lab.kit.front import Front, canvases_in
from mpkit.lab.kit.gallery import Gallery
from mpkit.lab.kit.panel import Lab
from mpkit.lab.kit.tools import ClosingBox

STYLE = f"<style>{Path(__file__).with_suffix('.css').read_text('utf-8')}</style>"
INDEX = "index"
"""The page that shows all others."""


def page(lab: Lab) -> widgets.Widget:
    """The lab's panel in large type over the whole width: pictures on one side, what is pressed and
    turned on the other. Build the lab with ``large=True``, for letters in pictures."""
    *parts, tools = lab.panel.children
    stage = [part for part in parts if any(canvases_in(part)) or _pictures(part)]
    others = [part for part in parts if part not in stage and not isinstance(part, Front)]
    front = [part for part in parts if isinstance(part, Front)]
    cut = others.index(lab.message) + 1
    names = {"mpkit-head-rows": others[:cut], "mpkit-stage": stage, "mpkit-rest": others[cut:]}
    room = widgets.Box([_box(name, some) for name, some in names.items()])
    room.add_class("mpkit-room")
    lab.panel.children = [room, *front, tools]
    lab.panel.add_class("mpkit-lecture")
    if lab.runner.mode == "sync":
        lab.runner.run()
    link = f'<a class="mpkit-all" href="{INDEX}.ipynb">All pages</a>'
    return ClosingBox([widgets.HTML(STYLE + link), lab.panel], lab.close)


def index(folder: Path | str = ".") -> widgets.Widget:
    """A link to each page of a folder, in order: its title and its line, which stand in its first
    cell, and its picture, ``pictures/NAME.jpg``."""
    cards = []
    for path in sorted(Path(folder).glob("*.ipynb")):
        if path.stem == INDEX:
            continue
        title, line = (html.escape(text) for text in said_in(path))
        picture = path.parent / "pictures" / f"{path.stem}.jpg"
        image = ""
        if picture.exists():
            data = base64.b64encode(picture.read_bytes()).decode()
            image = f'<img alt="" src="data:image/jpeg;base64,{data}">'
        cards.append(f'<a href="{path.name}">{image}<h2>{title}</h2><p>{line}</p></a>')
    return widgets.HTML(f'{STYLE}<div class="mpkit-index">{"".join(cards)}</div>')


def said_in(path: Path) -> tuple[str, str]:
    """A page's title and its line."""
    first = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
    title, _, line = first.removeprefix("# ").partition("\n")
    return title, " ".join(line.split())


def _box(name: str, parts: list[widgets.Widget]) -> widgets.VBox:
    box = widgets.VBox(parts)
    box.add_class(name)
    return box


def _pictures(part: widgets.Widget) -> bool:
    """Whether it shows pictures that are drawn in the browser."""
    inside = getattr(part, "children", ())
    return isinstance(part, Gallery) or any(map(_pictures, inside))
