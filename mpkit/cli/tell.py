"""``mpkit card`` and ``mpkit page``: what came of a run, for others, made from its folder.

A card is a picture: the target, what it is called now, the rate and both controls. A page is one
HTML file that plays the run, without Python, a server or a network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpkit.cli.options import filled
from mpkit.cli.output import say, show
from mpkit.data import files
from mpkit.data.names import steady

COMMANDS = {
    "card": "a picture of what came of a run",
    "page": "a run as one HTML page that plays it",
}
USUAL = {"card": "card.png", "page": "page.html"}


def add_flags(parser: argparse.ArgumentParser, kind: str) -> None:
    """Which run, and where it goes."""
    parser.add_argument("folder", type=filled, help="a run folder, as mpkit attack writes it")
    parser.add_argument(
        "--out", type=filled, metavar="FILE", help=f"the file ({USUAL[kind]} in the folder)"
    )
    parser.add_argument("--data", type=filled, metavar="X", help="where the run's pictures are now")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    from mpkit.runs.card import card
    from mpkit.runs.page import page
    from mpkit.runs.story import story_of

    folder = Path(options.folder)
    out = Path(options.out) if options.out else folder / USUAL[options.kind]
    story = story_of(folder, options.data)
    files.write(out, card(story) if options.kind == "card" else page(story).encode())
    if story.missing:
        say(f"mpkit: {story.missing}")
    show(steady(str(out)))
    return 0
