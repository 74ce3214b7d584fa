"""Whether a lab that runs on and on keeps its memory: minutes of crafting in a real JupyterLab.

    python tests/benchmarks/lab_memory.py [--minutes 10]
    python tests/benchmarks/lab_memory.py --cycles 200

A `CraftLab` on the digits runs all the time, is moved and reset in between as a student would, and
every half minute the kernel's resident memory, its threads and the page's JavaScript heap (after a
collection) are read. Prints what was read, and the means of both halves after the warm-up.

With --cycles no browser is needed: every lab is made, run to its end and closed so many times, and
what stays is printed: widgets, and resident memory a cycle over the second half. All that were
closed are still named, as by `Out` in a notebook.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.clock import add_json, headline, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))

CELLS = [
    "from mpkit.lab import CraftLab",
    "lab = CraftLab(data='digits', craft_steps=100_000)\nlab",
]
KERNEL = (
    "[__import__('psutil').Process().memory_info().rss / 1e6, "
    "sum(t.name == 'mpkit lab' for t in __import__('threading').enumerate()), lab.runner.steps, "
    "lab.canvas.frames]"
)
EVERY, WARM = 30, 150


SMALL = {
    "data": "digits", "n_train": 60, "n_test": 60, "classes": ("1", "7"), "size": 8, "models": 2,
    "epochs": 3, "craft_steps": 1, "batch": 20, "victims": 2, "victim_epochs": 3,
    "target_index": (0,),
}  # fmt: skip


GIVEN = {
    "ReplayLab": {"rate": 1000},
    "UnrollLab": {},
    "LookaheadLab": {"pace": 0, "unroll_steps": 2},
}
"""What labs are made with that are on no attack."""


def used(kind):
    """A lab that was made, run to its end, and closed. Raises what failed."""
    lab = kind(**GIVEN.get(kind.__name__, SMALL))
    lab.runner.run()
    lab.runner.wait()
    if error := lab.runner.error:
        raise error
    lab.close()
    return lab


def cycled(kind, cycles: int) -> dict:
    """What is left of labs that were used one after the other."""
    import psutil
    from ipywidgets.widgets.widget import _instances

    out = [used(kind)]  # warm
    gc.collect()
    widgets, process, levels = len(_instances), psutil.Process(), []
    for _ in range(cycles):
        out.append(used(kind))
        gc.collect()
        levels.append(process.memory_info().rss / 1e6)
    half = (cycles - 1) // 2
    left = (len(_instances) - widgets) / cycles
    return {"widgets": left, "mb": (levels[-1] - levels[half]) / max(1, cycles - 1 - half)}


def cycle_all(cycles: int) -> dict:
    """Every lab in turn."""
    from mpkit import lab

    os.environ.setdefault("MPKIT_SCALE", "ci")
    found = {}
    for name in (n for n in lab.__all__ if n.endswith("Lab")):
        found[name] = cycled(getattr(lab, name), cycles)
        print(
            f"{name}: {found[name]['widgets']:.1f} widgets and {found[name]['mb']:.3f} MB a cycle",
            flush=True,
        )
    return found


def read(book, devtools) -> dict:
    """The kernel's memory and threads, and the page's heap, at this moment."""
    devtools.send("HeapProfiler.collectGarbage")
    metrics = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
    rss, threads, steps, frames = book.ask(KERNEL)
    return {
        "kernel_mb": rss, "threads": threads, "steps": steps, "frames": frames,
        "page_mb": metrics["JSHeapUsedSize"] / 1e6, "nodes": metrics["Nodes"],
    }  # fmt: skip


def endure(book, page, minutes: float) -> list[dict]:
    """Let the lab run, with a slider moved every half minute and a reset every other minute."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    book.press("Run")
    began, found = time.perf_counter(), []
    while (passed := time.perf_counter() - began) < 60 * minutes:
        page.wait_for_timeout(1000 * EVERY)
        n = len(found)
        book.do(f"lab.controls['epsilon'].slider.value = {13 + n % 20}")
        if n % 4 == 3:
            book.press("Reset")
            book.press("Run")
        found.append({"seconds": passed + EVERY} | read(book, devtools))
        print("  ".join(f"{k} {v:.0f}" for k, v in found[-1].items()), flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cycles", type=int)
    add_json(parser)
    a = parser.parse_args(arguments)
    if a.cycles:
        print(headline())
        return write_json(a.json, {"cycles": cycle_all(a.cycles)})
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return print("no playwright: pip install mpkit[browser]")
    from server import CHROMIUM, JUPYTERLAB, Notebook, served

    print(headline())
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), JUPYTERLAB, "api") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        book = Notebook.open(page, server, "memory.ipynb", CELLS)
        book.run_all()
        book.button("Run").wait_for()
        found = endure(book, page, a.minutes)
        book.shut_down()
        browser.close()
    warm = [f for f in found if f["seconds"] > WARM] or found
    for name in ("kernel_mb", "page_mb"):
        values = [f[name] for f in warm]
        halves = values[: len(values) // 2] or values, values[len(values) // 2 :]
        means = [statistics.mean(half) for half in halves]
        print(
            f"{name}, warm: {min(values):.0f} to {max(values):.0f}; mean of the first half "
            f"{means[0]:.0f}, of the second {means[1]:.0f}"
        )
    write_json(a.json, {"memory": found})


if __name__ == "__main__":
    main()
