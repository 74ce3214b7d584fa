"""``mpkit forensics``: which training pictures made a run's victims say what they say?

Victims of the run are trained again, on its poisons, and every training picture gets a score. How
many of the highest are poisons is told: a defender would not know.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from mpkit.cli.options import filled, homed, whole
from mpkit.cli.output import Progress, refuse_unwritable, show
from mpkit.data import files
from mpkit.data.schema import strict
from mpkit.defenses.forensics import Answer, left_out, precision_at, tracin
from mpkit.evaluation.rates import percent
from mpkit.evaluation.victims import victim_seed
from mpkit.runs.folder import SavedRun, open_run
from mpkit.runs.prepared import Prepared
from mpkit.runs.record import RecordError, load_poisons
from mpkit.scenario import Scenario

METHODS = {
    "tracin": "their gradients along a training run, beside the answer's",
    "left-out": "trainings without some of the pictures",
}
GROUPS = 10


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which run, and how to look."""
    parser.add_argument("folder", type=filled, help="a run folder, as mpkit attack writes it")
    words = "; ".join(f"{name}: by {text}" for name, text in METHODS.items())
    parser.add_argument("--by", choices=METHODS, default="tracin", help=f"{words} (tracin)")
    parser.add_argument(
        "--models", type=whole, metavar="X",
        help=f"victims to train for tracin (1); rounds of {GROUPS} trainings for left-out (5)",
    )  # fmt: skip
    parser.add_argument("--rows", type=whole, default=12, metavar="X", help="pictures to list (12)")
    parser.add_argument("--data", type=filled, metavar="X", help="where the run's pictures are now")
    parser.add_argument(
        "--json", type=homed, metavar="FILE", help="write all scores there too; - for stdout"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    refuse_unwritable(options.json)
    for name in ("models", "rows"):
        if (count := getattr(options, name)) is not None and count < 1:
            raise ValueError(f"--{name} must be at least 1, not {count}")
    found = open_run(Path(options.folder))
    poisons, rows = load_poisons(found.folder)
    ready = found.prepare(not options.quiet, data=options.data)
    if not torch.equal(rows, ready.scenario.bases.cpu()):
        raise RecordError(f"the poisons in {found.folder} are of other rows than its settings say")
    if (defense := ready.attack.defense.defense) != "none":
        raise ValueError(
            f"the victims of {found.folder} defended themselves ({defense}), and forensics follows "
            "a plain training: attack again without --defense"
        )
    answer = Answer(ready.scenario.targets, _given(found, ready.scenario))
    scores = _scores(ready, poisons, answer, options)
    result = _result(ready.scenario, scores, answer, options.by)
    text = json.dumps(strict(result), indent=1, allow_nan=False)
    if options.json not in (None, "-"):
        files.write(Path(options.json), (text + "\n").encode())
    show(text if options.json == "-" else "\n".join(table(result, options.rows)))
    return 0


def _given(found: SavedRun, scenario: Scenario) -> Tensor:
    """The labels (T,) to be explained: those the attacker wanted, or any other that victims gave
    to most targets. Raises ValueError where there is none."""
    if scenario.goal != "self-concealment":
        return scenario.adversarial
    said = [v.predicted for v in found.victims() if v.arm == "poisoned"]
    labels = torch.tensor([p for row in said for p in row if p is not None], dtype=torch.long)
    others = labels[~torch.isin(labels, scenario.target_labels.cpu())]
    if not len(others):
        raise ValueError(f"no victim in {found.folder} was turned: there is nothing to explain")
    return others.mode().values.expand(len(scenario.targets)).to(scenario.adversarial)


def _scores(ready: Prepared, poisons: Tensor, answer: Answer, options: argparse.Namespace):
    """The scores (N,) of the poisoned training set."""
    data, seed = ready.arms(poisons, ("poisoned",))["poisoned"], ready.attack.settings.seed
    given = ready.victim_network, data, ready.attack.victim_recipe, answer
    with Progress(options.by, "step", 1, quiet=options.quiet) as progress:

        def tell(done: int, of: int) -> None:
            progress.total = of
            progress.reach(done)

        if options.by == "left-out":
            rounds = options.models or 5
            return left_out(*given, groups=GROUPS, rounds=rounds, seed=seed, tell=tell)
        seeds = [victim_seed(seed, v) for v in range(options.models or 1)]
        return tracin(*given, seeds=seeds, plan=ready.victim_plan, tell=tell)


def _result(scenario: Scenario, scores: Tensor, answer: Answer, by: str) -> dict:
    """Precision at the budget, and the pictures from the highest score down, as JSON."""
    names, y, bases = scenario.train.classes, scenario.train.y, set(scenario.bases.tolist())
    budget = len(bases) / len(y)
    order = scores.argsort(descending=True).tolist()
    return {
        "by": by,
        "answer": names[int(answer.y[0])],
        "poisons": len(bases),
        "precision": precision_at(scores, scenario.bases, budget),
        "chance": budget,
        "chance_within_class": _within(scenario),
        "pictures": [
            {"row": i, "class": names[int(y[i])], "score": float(scores[i]), "poison": i in bases}
            for i in order
        ],
    }


def _within(scenario: Scenario) -> float:
    """The share of poisons among the pictures of their classes."""
    y = scenario.train.y
    return len(scenario.bases) / int(torch.isin(y, y[scenario.bases]).sum())


def table(result: dict, rows: int) -> list[str]:
    """The precision in words, and a line a picture."""
    count = result["poisons"]
    right = round(result["precision"] * count)
    lines = [
        f"Who taught the answer {result['answer']}? Of the {count} pictures with the highest "
        f"scores, {right} are poisons: {percent(result['precision'], 0)} (by chance "
        f"{percent(result['chance'], 0)}, within the poisons' classes "
        f"{percent(result['chance_within_class'], 0)})",
        f"{'':>4} {'picture':>8} {'score':>10}  class",
    ]
    for place, one in enumerate(result["pictures"][:rows], 1):
        mark = ", a poison" if one["poison"] else ""
        lines.append(f"{place:>4} {one['row']:>8} {one['score']:>10.3g}  {one['class']}{mark}")
    return lines
