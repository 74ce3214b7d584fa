"""How long the chapters take: their cells, and their labs, each run to its end.

    python tests/benchmarks/chapter_times.py [--scale laptop] [--chapters 00 05]

Each chapter is executed once, in a kernel of its own; what notebooks/INSTRUCTORS.md tells.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from bench.clock import add_json, headline, write_json
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests.notebooks.once import with_labs  # noqa: E402


def times(path: Path) -> dict:
    """Seconds of a chapter's cells without labs, the longest of them, and of each with a lab."""
    book = nbformat.read(path, 4)
    client = NotebookClient(book, timeout=1200, resources={"metadata": {"path": str(path.parent)}})
    took: dict[int, float] = {}
    with client.setup_kernel():
        for place, cell in enumerate(book.cells):
            if cell.cell_type == "code":
                began = time.perf_counter()
                client.execute_cell(cell, place)
                took[place] = time.perf_counter() - began
    labs = [list(took)[i] for i in with_labs([book.cells[place].source for place in took])]
    cells = [seconds for place, seconds in took.items() if place not in labs]
    return {"cells": sum(cells), "longest": max(cells), "labs": [took[place] for place in labs]}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--chapters", nargs="*", help="numbers, such as 00 (all)")
    add_json(parser)
    a = parser.parse_args(arguments)
    os.environ |= {"MPKIT_SCALE": a.scale, "MPKIT_SYNC": "1"}
    print(f"{headline()}, scale {a.scale}")
    found = {}
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        if a.chapters and path.name[:2] not in a.chapters:
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MPKIT_PROGRESS"] = str(Path(folder) / "progress.json")
            took = found[path.name[:2]] = times(path)
        labs = ", ".join(f"{seconds:.1f}" for seconds in took["labs"] if seconds >= 0.5)
        print(
            f"{path.name[:2]}: cells {took['cells']:.1f} s (longest {took['longest']:.1f} s), labs "
            f"{labs or '–'} s",
            flush=True,
        )
    write_json(a.json, found)


if __name__ == "__main__":
    main()
