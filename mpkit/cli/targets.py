"""``mpkit targets``: the test pictures of a class from the nearest to the farthest.

Eight clean models, trained as the attack's victims are, say by what margin each picture is not yet
called what the attacker wants. The default target is the middle one of the near third.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from mpkit.cli.options import attack_from, homed
from mpkit.cli.output import refuse_unwritable, say, show
from mpkit.data.datasets import NAMED
from mpkit.data.schema import strict
from mpkit.evaluation.margins import write_margins
from mpkit.evaluation.targets import MODELS, THIRDS, Target, outlook
from mpkit.runs.prepared import clean_margins, clean_setup, load_scenario


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to write, and where."""
    group = parser.add_argument_group("results")
    group.add_argument(
        "--json", type=homed, metavar="FILE", help="write the list there too; - for stdout"
    )
    group.add_argument(
        "--keep",
        type=homed,
        metavar="DIR",
        help="also put the file of all margins into this folder",
    )
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    refuse_unwritable(options.json)
    attack = attack_from(options)
    if attack.target_index is None:  # of all of them, so that none need be a target by the rule
        attack = dataclasses.replace(attack, target_index=(0,))
    scenario = load_scenario(attack, not options.quiet)
    margins = clean_margins(attack, scenario, not options.quiet)
    if options.keep:  # a folder that refuses is told of by a warning
        write_margins(Path(options.keep), clean_setup(attack, scenario), margins)
    true, adversarial = int(scenario.target_labels[0]), int(scenario.adversarial[0])
    found = margins.targets(true, adversarial)
    text = json.dumps(strict([dataclasses.asdict(t) for t in found]), indent=1, allow_nan=False)
    if options.json not in (None, "-"):
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    names = scenario.train.classes
    called = "anything else" if attack.goal == "self-concealment" else names[adversarial]
    show(text if options.json == "-" else "\n".join(table(found, names[true], called)))
    if attack.data not in NAMED:
        say(f"mpkit: {outlook(scenario, margins)}")
    if not options.quiet and options.json != "-":
        say("\nName one with --target-index; without it mpkit attack takes the one marked *")
    return 0


def table(found: list[Target], name: str, adversarial: str) -> list[str]:
    """A line a picture, third by third, and what is wrong with those that are no targets."""
    good = [t for t in found if t.third]
    lines = [
        f"{len(good)} of {len(found)} test pictures of class {name} are targets for {adversarial}, "
        f"by the mean margin of {MODELS} clean models:",
        f"{'':<8} {'index':>6} {'test image':>11} {'margin':>8}",
    ]
    for third in THIRDS:
        mine = [t for t in good if t.third == third]
        for i, t in enumerate(mine):
            mark = " *" if third == "near" and i == (len(mine) - 1) // 2 else ""
            lines.append(f"{third:<8} {t.index:>6} {t.row:>11} {t.margin:>+8.2f}{mark}")
    for t in found[len(good) :]:
        margin = "–" if t.margin is None else f"{t.margin:+.2f}"
        lines.append(f"{'–':<8} {t.index:>6} {t.row:>11} {margin:>8}  {t.why}")
    return lines
