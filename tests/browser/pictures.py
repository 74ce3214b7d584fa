"""Pictures of every lab as people see it, to be looked at, and the README's.

    python tests/browser/pictures.py FOLDER [--labs CraftLab …] [--lecture]
    python tests/browser/pictures.py --readme
    python tests/browser/pictures.py --index [4-craft …]

Each lab is run in a real JupyterLab and photographed at 1280 and 1920 pixels, in the light and in
the dark theme; with --lecture the pages without code as well. --readme writes docs/craft-lab.png
and docs/craft-lab.gif from one run, in which ε is changed on the way. --index writes the
pictures of the lecture's index.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageOps
from server import CHROMIUM, JUPYTERLAB, ROOT, Notebook, expect, served, sync_playwright
from test_voila import LABS as LECTURE
from test_voila import PAGES, VOILA

LABS = {
    "CollisionLab": ("CollisionLab()", 60),
    "UnrollLab": ("UnrollLab()", 25),
    "LookaheadLab": ("LookaheadLab()", None),
    "DynamicsLab": ("DynamicsLab()", None),
    "CraftLab": ("CraftLab()", None),
    "VictimsLab": ("VictimsLab()", None),
    "CompareLab": ("CompareLab(pairs=1)", None),
    "DefenseLab": ("DefenseLab()", None),
    "ReplayLab": ("ReplayLab(rate=100)", None),
}
"""How each is made, and after how many steps it is photographed (None: at its end)."""

SIZES = ((1280, 1000), (1920, 1200))
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


def lab_pictures(page, server, name: str, folder: Path) -> None:
    """One run of a lab, photographed at every size and in both themes."""
    make, steps = LABS[name]
    cells = [f"from mpkit.lab import {name}", f"lab = {make}\nlab"]
    book = Notebook.open(page, server, f"{name}.ipynb", cells)
    book.run_all()
    book.button("Run").wait_for()
    page.screenshot(path=folder / f"{name}-before.png")
    book.press("Run")
    enough = f"lab.runner.steps >= {steps} or " if steps else ""
    book.wait_for(f"{enough}lab.runner.phase.ended", 300)
    if name == "CraftLab":
        book.press("Train a victim on these poisons now")
        book.wait_for("lab.victim.runner.phase.ended", 120)
    if (more := page.get_by_role("button", name="Settings for the next run")).count():
        more.click()
    time.sleep(1)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for theme, full in THEMES.items():
            book.command("apputils:change-theme", {"theme": full})
            page.wait_for_timeout(1500)
            page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
    book.command("apputils:change-theme", {"theme": THEMES["light"]})
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[0], strict=True)))
    assert book.ask("lab.runner.error is None")
    book.shut_down()


def lecture_pictures(page, server, folder: Path) -> None:
    """The pages without code, in mid-run, at every size."""
    for path in sorted(PAGES.glob("[0-9]*.ipynb")):
        page.goto(server.url(f"voila/render/{path.name}"), timeout=120_000)
        run = page.locator("button:has-text('Run')").first
        run.wait_for(timeout=90_000)
        run.click()
        page.wait_for_timeout(25_000)
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"lecture-{path.stem}-{width}.png")


def index_pictures(page, server, names: list[str]) -> None:
    """What the index of the lecture shows of each page: its pictures, once it has run."""
    page.set_viewport_size({"width": 1440, "height": 1000})
    for name in names:
        page.goto(server.url(f"voila/render/{name}.ipynb"), timeout=120_000)
        run = page.locator("button:has-text('Run')").first
        run.wait_for(timeout=90_000)
        run.click()
        with contextlib.suppress(AssertionError):
            expect(page.get_by_text("done", exact=True).first).to_be_visible(timeout=300_000)
        page.wait_for_timeout(2000)
        stage = Image.open(io.BytesIO(page.locator(".mpkit-stage").screenshot())).convert("RGB")
        top = stage.crop((0, 0, stage.width, min(stage.height, round(stage.width / 1.6))))
        small = ImageOps.pad(top, (640, 400), Image.Resampling.LANCZOS, "white", (0, 0))
        small.save(PAGES / "pictures" / f"{name}.jpg", quality=82, optimize=True)


def readme_pictures(page, server, docs: Path) -> None:
    """A run of CraftLab with a change of ε: a picture of its end, and an animated one."""
    page.set_viewport_size({"width": 1280, "height": 1700})  # what is below it is not drawn
    cells = ["from mpkit.lab import CraftLab", "lab = CraftLab()\nlab"]
    book = Notebook.open(page, server, "readme.ipynb", cells)
    book.run_all()
    book.button("Run").wait_for()
    panel = page.locator(".jp-OutputArea-output .widget-vbox").first
    frames, seen, changed = [], -1, False
    book.press("Run")
    while not book.ask("lab.runner.phase.ended"):
        if not changed and book.ask("len(lab.records)") >= 8:
            page.get_by_role("spinbutton", name="ε (n/255)").fill("16")
            page.keyboard.press("Enter")
            changed = True
        if (now := book.ask("len(lab.records)")) > seen:
            seen = now
            page.wait_for_timeout(300)
            frames.append(Image.open(io.BytesIO(panel.screenshot())).convert("RGB"))
    page.wait_for_timeout(500)
    page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(panel.screenshot())).convert("RGB")
    seen, around = (
        place.bounding_box() for place in (panel.locator("img[style*='max-width']").first, panel)
    )
    bottom = round(seen["y"] + seen["height"] - around["y"])
    top = picture.crop((0, 0, picture.width, bottom))
    top.save(docs / "craft-lab.png", optimize=True)
    size = (600, round(600 * top.height / top.width))
    small = [
        f.crop((0, 0, *top.size)).resize(size, Image.Resampling.BOX) for f in [*frames, picture]
    ]
    palette = small[-1].quantize(128)  # one for all: what does not change costs nothing
    small = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in small]
    times = [350] * (len(small) - 1) + [3000]
    small[0].save(
        docs / "craft-lab.gif", save_all=True, append_images=small[1:], duration=times, loop=0,
        optimize=True,
    )  # fmt: skip
    book.shut_down()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("pictures"))
    parser.add_argument("--labs", nargs="*", choices=list(LABS), default=list(LABS))
    parser.add_argument("--lecture", action="store_true")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--index", nargs="*", choices=LECTURE)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=dict(zip(("width", "height"), SIZES[0], strict=True)))
        page.set_default_timeout(60_000)
        if a.index is not None:
            with served(_made(temporary, "voila"), VOILA, "api", MPKIT_SCALE="laptop") as server:
                shutil.copytree(PAGES, server.root, dirs_exist_ok=True)
                return index_pictures(page, server, a.index or LECTURE)
        with served(_made(temporary, "lab"), JUPYTERLAB, "api", MPKIT_SCALE="laptop") as server:
            if a.readme:
                return readme_pictures(page, server, ROOT / "docs")
            a.folder.mkdir(parents=True, exist_ok=True)
            for name in a.labs:
                lab_pictures(page, server, name, a.folder)
        if a.lecture:
            with served(_made(temporary, "voila"), VOILA, "api", MPKIT_SCALE="laptop") as server:
                shutil.copytree(PAGES, server.root, dirs_exist_ok=True)
                lecture_pictures(page, server, a.folder)


def _made(parent: str, name: str) -> Path:
    folder = Path(parent) / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
