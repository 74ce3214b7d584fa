"""``mpkit pictures``: make a data set of photographs, of any sizes, that lie in a folder a class.

They are turned as their cameras say, cut to squares, scaled, and divided into those to train on and
those to test on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpkit.cli.options import filled, number, whole
from mpkit.cli.output import say, show
from mpkit.data.gather import CROPS, WORDS, gather
from mpkit.data.places import quoted


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where they are, what becomes of them, and where that goes."""
    parser.add_argument("source", type=filled, help="a folder or archive with a folder a class")
    parser.add_argument("--out", type=filled, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--size", type=whole, default=32, metavar="X", help="pixels a side (32)")
    parser.add_argument(
        "--crop", choices=CROPS, default="middle",
        help="the square in the middle of each (the default), or each whole, on white",
    )  # fmt: skip
    parser.add_argument(
        "--test", type=number, default=0.25, metavar="X",
        help="share of each class to test on, the last by name, where they are not divided (0.25)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    out = Path(options.out)
    source = Path(options.source)
    counts, notes = gather(source, out, options.size, options.crop, options.test)
    for note in notes:
        say(f"mpkit: {note}")
    size, lines = options.size, []
    for name, tested in counts["test"].items():
        lines.append(f"  {name}: {counts['train'][name]} to train on, {tested} to test on")
    show(f"{out}: {WORDS[options.crop]}, {size} × {size} pixels\n" + "\n".join(sorted(lines)))
    say(f"\nAttack it with: mpkit attack --data {quoted(out)}")
    return 0
