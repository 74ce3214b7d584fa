"""``mpkit contest``: teams attack and defend with settings in JSON files, and are scored.

FOLDER holds limits.json and submissions/*.json; notebooks/08-red-and-blue.ipynb says what is in
them. Targets are drawn when it is first run. Stopped, it goes on with the same command.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpkit.cli.options import filled, whole
from mpkit.cli.output import Progress, say, show
from mpkit.contest.contest import drawn, open_contest, play
from mpkit.contest.report import write_report
from mpkit.contest.score import scores
from mpkit.data.names import one_line, steady


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where it is, and what decides the draw."""
    parser.add_argument("folder", type=filled, help="a folder with limits.json and submissions/")
    parser.add_argument(
        "--draw", type=whole, metavar="X",
        help="the seed that draws the targets (one that nobody can foretell)",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="say what is refused, and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    contest = open_contest(Path(options.folder))
    for name, why in contest.refused.items():
        say(f"mpkit: {one_line(name)} is refused: {one_line(why)}")
    if options.check:
        for team in contest.teams:
            show(f"{team.side:<5} {team.team}: {one_line(team.what)}")
        return 0
    contest = drawn(contest, options.draw)
    known = len(contest.results())
    try:
        with Progress("contest", "result", contest.total(), known, options.quiet) as progress:
            for row in play(contest):
                progress.reach(progress.done + 1, row.get("lost", ""))
    except KeyboardInterrupt:
        say("\nStopped; what is done is kept. Give the same command again.")
        return 130
    for score in scores(contest, contest.results()):
        show(f"{score.side:<5} {score.team}: {one_line(str(score))}")
    for path in write_report(contest):
        show(steady(str(path)))
    return 0
