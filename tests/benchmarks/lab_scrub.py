"""How quickly a run that is done shows another of its steps.

    python tests/benchmarks/lab_scrub.py [--moves 40]

In a real JupyterLab: a `CraftLab` on the road signs and its victim have run to their ends; arrow
keys move the slider in time to and fro. Timed is from the key until the picture in the page is the
one of the step that was asked for, decoded and there to be painted. Without a browser (--kernel):
what of that is Python's, in every lab.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.clock import add_json, headline, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

NEXT = """([words, key]) => {
    const there = () => [...document.querySelectorAll('img[alt]')].find(
        e => e.alt.includes(words) && e.complete && e.naturalWidth);
    const slider = document.activeElement, began = performance.now();
    slider.value = Number(slider.value) + (key === 'ArrowLeft' ? -1 : 1) * Number(slider.step);
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    return new Promise(done => {
        const look = () => there() ? done(performance.now() - began) : requestAnimationFrame(look);
        look();
    });
}"""
"""Milliseconds from a move of the slider that has the focus to the picture with these words."""


def told(name: str, times: list[float]) -> dict:
    times.sort()
    middle, late = statistics.median(times), times[int(0.95 * (len(times) - 1))]
    print(f"{name}: median {middle:.0f} ms, 95th percentile {late:.0f} ms (n = {len(times)})")
    return {"median_ms": middle, "late_ms": late, "n": len(times)}


def moved(page, which: int, words: str, last: int, moves: int) -> list[float]:
    """Milliseconds for each of so many steps, from the end to the first one and back."""
    page.get_by_role("slider", name="Time: look back at one").nth(which).focus()
    at, way, times = last, -1, []
    for _ in range(moves):
        way = -way if not 1 <= at + way <= last else way
        at += way
        key = "ArrowLeft" if way < 0 else "ArrowRight"
        times.append(page.evaluate(NEXT, [words.format(at), key]))
        page.wait_for_timeout(150)
    return times


def in_a_browser(moves: int) -> dict:
    from playwright.sync_api import sync_playwright
    from server import CHROMIUM, JUPYTERLAB, Notebook, served

    cells = ["from mpkit.lab import CraftLab", "lab = CraftLab(craft_steps=20)\nlab"]
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), JUPYTERLAB, "api") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        book = Notebook.open(page, server, "scrub.ipynb", cells)
        book.run_all()
        book.button("Run").wait_for()
        book.press("Run")
        book.wait_for("lab.runner.phase.ended", 300)
        book.press("Train a victim on these poisons now")
        book.wait_for("lab.victim.runner.phase.ended", 300)
        page.wait_for_timeout(2000)
        epochs = book.ask("len(lab.victim.points)")
        found = {
            "craft": told("a craft step", moved(page, 0, "After craft step {} ", 20, moves)),
            "victim": told("an epoch", moved(page, 1, ": after epoch {} ", epochs, moves)),
        }
        book.shut_down()
        browser.close()
    return found


def in_the_kernel(moves: int) -> dict:
    """Every lab that has a film, run to its end: frames shown in Python, no browser there."""
    from mpkit import lab as labs

    found = {}
    for name in [name for name in labs.__all__ if name.endswith("Lab")]:
        lab = getattr(labs, name)()
        if not lab.filmed:
            continue
        lab.runner.run()
        while not lab.runner.phase.ended:
            time.sleep(0.1)
        steps, times = list(lab.film.frames), []
        for i in range(moves):
            began = time.perf_counter()
            lab.scrub(steps[-1 - i % len(steps)])
            times.append(1000 * (time.perf_counter() - began))
        size, seen = lab.film.size / 1e6, len(steps)
        found[name] = told(name, times) | {"frames": seen, "megabytes": size}
        print(f"    {seen} frames, {size:.2f} MB")
        lab.close()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--kernel", action="store_true", help="Python's part alone")
    add_json(parser)
    a = parser.parse_args(arguments)
    print(headline())
    write_json(a.json, (in_the_kernel if a.kernel else in_a_browser)(a.moves))


if __name__ == "__main__":
    main()
