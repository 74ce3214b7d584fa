"""How quickly the lab answers, and what its pictures cost.

    python tests/benchmarks/lab_response.py [--presses 30]

Drawing: the time of craft steps of a `CraftLab` on the digits and on the signs, with its picture
and without, in turns of four seconds or so, each compared with those beside it. Answering (where
there is a Chromium): from a press to the first visible change of the panel's words, and from an
arrow key on a slider to the number box that the kernel sets, in a real JupyterLab, while crafting
runs; and from ▶ to the first point.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.clock import add_json, headline, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))


class Turns:
    """Switches a lab's picture on and off, in turns of so many steps: with it in even turns."""

    def __init__(self, lab, steps: int):
        self.lab, self.steps, self.ends = lab, steps, []
        self.take, self.frame, self.later = lab.runner.on_item, lab.frame, lab.canvas.later
        self.frames = {True: 0, False: 0}  # drawn, with the picture and without
        lab.runner.on_item, lab.canvas.drawn = self.on_item, self.count

    @property
    def on(self) -> bool:
        """Whether the picture is on."""
        return len(self.ends) % 2 == 1

    def on_item(self, item) -> None:
        """Before an item is shown: whether it is to be."""
        if (self.lab.runner.steps - 1) % self.steps == 0:  # of this item: the first of a turn
            self.switch()
        self.take(item)

    def switch(self) -> None:
        lab, canvas = self.lab, self.lab.canvas
        self.ends.append(time.perf_counter())
        lab.frame = self.frame if self.on else (lambda: None)  # asked, kept, lines, strip, bars
        canvas.later = self.later if self.on else (lambda: None)
        with canvas._calls:
            canvas._asked = False  # what was asked for belongs to the turn before
            canvas._ended = self.ends[-1] - canvas._pause() / 2  # on average, as in mid-run

    def count(self) -> None:
        self.frames[self.on] += 1

    def shares(self) -> list[float]:
        """Of each turn with the picture, beside two without: the share of its time that is more.
        The first two turns warm up."""
        took = [b - a for a, b in pairwise(self.ends)]
        return [1 - (took[i - 1] + took[i + 1]) / 2 / took[i] for i in range(2, len(took) - 1, 2)]


def drawing(data: str, turn: int, seconds: float) -> dict:
    """The share of throughput that the picture takes, in one run: `turn` steps with it, as many
    without, and so on; the median over turns."""
    from mpkit.lab import CraftLab

    lab = CraftLab(data=data, craft_steps=10_000)
    turns = Turns(lab, turn)
    lab.runner.run()
    time.sleep(seconds)
    lab.close()
    shares, took = turns.shares(), turns.ends[-1] - turns.ends[0]
    if len(shares) < 2:
        print(f"{data}: too short for a share: --seconds {3 * seconds:.0f}")
        return {"share": None, "shares": shares}
    share, quarters = statistics.median(shares), statistics.quantiles(shares, n=4)
    print(
        f"{data}: the picture takes {share:.1%} (quartiles {quarters[0]:.1%} and {quarters[2]:.1%} "
        f"of {len(shares)} turns of {turn} steps), {turn * len(turns.ends) / took:.1f} steps and "
        f"{2 * turns.frames[True] / took:.1f} frames a second (off: {turns.frames[False]})"
    )
    return {"share": share, "shares": shares, "frames": turns.frames, "seconds": took}


WATCH = """() => {
    const words = '.jp-OutputArea [role=status]';
    const texts = () => [...document.querySelectorAll(words)]
        .map(e => e.textContent.replace(/about .* left|step \\d+/g, '')).join('|');
    const before = texts(), began = performance.now();
    return new Promise(done => {
        const look = () => texts() !== before ? done(performance.now() - began)
                                              : requestAnimationFrame(look);
        look();
    });
}"""
"""Milliseconds until the panel's words (without the running count) are others than now."""


BOX = """(e) => {
    const before = e.value, began = performance.now();
    return new Promise(done => {
        const look = () => e.value !== before ? done(performance.now() - began)
                                              : requestAnimationFrame(look);
        look();
    });
}"""
"""Milliseconds until a number box holds another number than now."""


def pressing(book, page, presses: int) -> list[float]:
    """Milliseconds from each press of ⏸ or ▶ to the answer, with steps between them."""
    times = []
    for i in range(presses):
        button = book.button("Pause" if i % 2 == 0 else "Run")
        button.wait_for()
        page.wait_for_timeout(700)
        waiting = page.evaluate_handle(f"() => ({{promise: ({WATCH})()}})")
        button.evaluate("e => e.click()")
        times.append(waiting.evaluate("h => h.promise"))
    return times


def sliding(book, page, presses: int) -> list[float]:
    """Milliseconds from each arrow key on the slider of K to its number box, in mid-run."""
    times = []
    row = page.locator(".widget-hbox", has=page.get_by_text("K, steps ahead", exact=True)).last
    box = row.locator("input[type=number]")
    for i in range(presses):
        page.wait_for_timeout(700)
        row.locator(".noUi-handle").focus()
        waiting = box.evaluate_handle(f"e => ({{promise: ({BOX})(e)}})")
        page.keyboard.press("ArrowLeft" if i % 2 == 0 else "ArrowRight")
        times.append(waiting.evaluate("h => h.promise"))
    return times


def answering(presses: int) -> dict:
    """Milliseconds from a press to the answer that a student sees, and ▶ to the first point."""
    from playwright.sync_api import sync_playwright
    from server import CHROMIUM, JUPYTERLAB, Notebook, served

    cells = [
        "from mpkit.lab import CraftLab",
        "lab = CraftLab(data='digits', craft_steps=10_000)\nlab",
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), JUPYTERLAB, "api") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        book = Notebook.open(page, server, "response.ipynb", cells)
        book.run_all()
        book.button("Run").wait_for()
        began = time.perf_counter()
        book.press("Run")
        page.locator("img[alt*='After craft step']").wait_for()
        first = time.perf_counter() - began
        slid, pressed = sliding(book, page, presses), pressing(book, page, presses)
        book.shut_down()
        browser.close()
    found = {"first_point_s": first, "n": presses}
    for name, times in (("press", pressed), ("slider", slid)):
        times.sort()
        middle, late = statistics.median(times), times[int(0.95 * (len(times) - 1))]
        print(f"from a {name} to its answer: median {middle:.0f} ms, 95th percentile {late:.0f} ms")
        found[name] = {"median_ms": middle, "late_ms": late}
    print(f"from ▶ to the first drawn point: {first:.1f} s")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presses", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=100, help="of crafting, for each drawing")
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    found = {"drawing": [drawing(*each, a.seconds) for each in (("digits", 16), ("signs", 48))]}
    try:
        found["answering"] = answering(a.presses)
    except ImportError:
        print("no playwright: pip install mpkit[browser]")
    write_json(a.json, found)


if __name__ == "__main__":
    main()
