"""``mpkit defend``: the poisons of a run, judged again under one defense after another.

Fresh victims, as many as the run had, and clean twins train under each; the run itself stays as it
is.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from mpkit.cli.options import (
    add_attack_flags,
    filled,
    given,
    homed,
    named,
    refuse_idle,
    several,
    whole,
)
from mpkit.cli.output import Progress, refuse_unwritable, show
from mpkit.cli.thirds import short
from mpkit.data import files
from mpkit.data.schema import strict
from mpkit.defenses.defense import DEFENSES, Defense
from mpkit.evaluation.rates import Mean, Rate, mean, percent
from mpkit.evaluation.tally import tally, with_diverged
from mpkit.runs.folder import open_run
from mpkit.runs.prepared import Prepared
from mpkit.runs.record import RecordError, load_poisons
from mpkit.setting import settings_of

ARMS = ("poisoned", "clean")
SETTINGS = tuple(name for name in settings_of(Defense) if name != "defense")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which run, which defenses, and where it goes."""
    parser.add_argument("folder", type=filled, help="a run folder, as mpkit attack writes it")
    parser.add_argument(
        "--defense", dest="defenses", type=several(str), metavar="X", default=("all",),
        help=f"one or several, with commas: {', '.join(DEFENSES)} (all)",
    )  # fmt: skip
    parser.add_argument("--victims", type=whole, metavar="X", help="fresh victims (the run's)")
    parser.add_argument("--data", type=filled, metavar="X", help="where the run's pictures are now")
    parser.add_argument(
        "--json", type=homed, metavar="FILE", help="write the counts there too; - for stdout"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_attack_flags(parser, SETTINGS)


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    refuse_unwritable(options.json)
    found = open_run(Path(options.folder))
    asked = {name: value for name, value in given(options).items() if name in SETTINGS}
    names = named(options.defenses, DEFENSES, "--defense")
    defenses = [Defense(**asked | {"defense": name}) for name in names]
    refuse_idle([dataclasses.replace(found.attack, defense=one) for one in defenses], asked)
    poisons, rows = load_poisons(found.folder)
    ready = found.prepare(not options.quiet, data=options.data)
    if not torch.equal(rows, ready.scenario.bases.cpu()):
        raise RecordError(f"the poisons in {found.folder} are of other rows than its settings say")
    own = {} if options.victims is None else {"victims": options.victims}
    results = []
    for one in defenses:
        attack = dataclasses.replace(ready.attack, defense=one, **own)
        results.append(_judged(dataclasses.replace(ready, attack=attack), poisons, options.quiet))
    text = json.dumps(strict(results), indent=1, allow_nan=False)
    if options.json not in (None, "-"):
        files.write(Path(options.json), (text + "\n").encode())
    show(text if options.json == "-" else "\n".join(table(results)))
    return 0 if any("arms" in found for found in results) else 2


def _judged(ready: Prepared, poisons: torch.Tensor, quiet: bool) -> dict:
    """What came of the poisons under the attack's defense, as JSON; or why it `failed`, as some
    defenses do with some networks."""
    victims, defense = [], ready.attack.defense
    told = {"defense": dataclasses.asdict(defense)}
    try:
        kept, counts = ready.screened(poisons, ARMS)
        with Progress(defense.defense, "epoch", ready.epochs(ARMS), quiet=quiet) as progress:
            for epoch, found in ready.judge(poisons, ARMS, kept=kept):
                progress.reach(epoch)
                victims += found
    except ValueError as error:
        return told | {"failed": str(error)}
    arms = {arm: tally(victims, arm) for arm in ARMS}
    for arm, found in arms.items():
        known = [v.accuracy for v in victims if v.arm == arm and v.accuracy is not None]
        found["accuracy_interval"] = dataclasses.asdict(mean(known)) if known else None
    screening = {arm: dataclasses.asdict(found) for arm, found in counts.items()}
    return told | {"arms": arms} | ({"screening": screening} if screening else {})


def table(results: list[dict]) -> list[str]:
    """A line a defense; intervals are over its victims, all of one target and its poisons."""
    lines = [
        f"{'defense':<16} {'victims that turned':<24} {'accuracy':<22} {'without poisons':<22} "
        "thrown away"
    ]
    for found in results:
        if "failed" in found:
            lines.append(f"{found['defense']['defense']:<16} {found['failed']}")
            continue
        mine, clean = (found["arms"][arm] for arm in ARMS)
        turned = with_diverged(short(Rate(**mine["success"])), mine["diverged"])
        accuracies = [
            Mean(**arm["accuracy_interval"]) if arm["accuracy_interval"] else "–"
            for arm in (mine, clean)
        ]
        cells = [f"{found['defense']['defense']:<16}", f"{turned:<24}"]
        cells += [f"{accuracy!s:<22}" for accuracy in accuracies]
        lines.append(" ".join([*cells, _thrown(found)]).rstrip())
    return lines


def _thrown(found: dict) -> str:
    if "screening" not in found:
        return ""
    mine, clean = (found["screening"][arm] for arm in ARMS)
    return (
        f"{mine['caught']} of {mine['poisons']} poisons, {mine['lost']} of {mine['innocents']} "
        f"others; without poisons {percent(clean['lost'] / clean['innocents'], 0)}"
    )
