"""``mpkit compare``: methods against defenses, over targets that are drawn by a seed.

Poisons are crafted once a method, budget and target, and judged under every defense; clean victims
under the same defenses say what each costs. Every cell sees the same targets, but for those that
train otherwise, which have targets of their own. Results are appended one by one: a comparison that
was stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import functools
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mpkit.cli.options import (
    add_drawing,
    add_workers,
    filled,
    given,
    named,
    number,
    refuse_drawn,
    refuse_idle,
    several,
)
from mpkit.cli.options import whole as whole_number
from mpkit.cli.output import Progress, line_by_line, say, show
from mpkit.cli.thirds import short
from mpkit.data import files
from mpkit.data.schema import strict
from mpkit.defenses.defense import DEFENSES
from mpkit.device import Plan
from mpkit.evaluation.rates import Rate, percent
from mpkit.finetuning import FINE_TUNE
from mpkit.group import ranks
from mpkit.runs import record
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.comparison import CLEAN, Entry, Trial, entries, groups, measured, trial_of, trials
from mpkit.runs.grid import drawable, rows_by_key
from mpkit.runs.origin import versions
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.saved import from_dict, to_dict
from mpkit.runs.workers import done_by, follow, plan_beside, processes_for
from mpkit.settings import METHODS

LISTS = {"methods": METHODS, "defended": METHODS, "defenses": DEFENSES, "fine_tunes": FINE_TUNE}
"""The flags that are lists of names, and all the names there are."""


BESIDE = (".csv", ".json", ".png")
"""What is written beside the results, from all of them."""
SINGLE = {
    "method": "methods",
    "defense": "defenses",
    "budget": "budgets",
    "epsilon": "epsilons",
    "fine_tune": "fine_tunes",
}
"""Flags of one attack, and the list that says the same of many."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What is compared, and where results go."""
    group = parser.add_argument_group("comparison", "Lists have commas; all stands for all.")
    names = functools.partial(group.add_argument, type=several(str), metavar="X")
    names("--methods", default=("all",), help=f"{', '.join(METHODS)} (all)")
    names(
        "--defended", default=("all",),
        help="which of these are judged under every defense; the others under none (all)",
    )  # fmt: skip
    names("--defenses", default=("all",), help=f"{', '.join(DEFENSES)} (all; none is always in)")
    names("--fine-tunes", help="no, last, all, or several of them (what --fine-tune says)")
    group.add_argument(
        "--budgets", type=several(number), metavar="X", help="shares that are poisoned (--budget)"
    )
    group.add_argument(
        "--epsilons", type=several(number), metavar="X", help="bounds on δ (--epsilon)"
    )
    add_drawing(group)
    group.add_argument(
        "--clean-pairs", type=whole_number, metavar="X",
        help="on how many of these targets clean victims train as well, which say what a defense "
        "costs: they do not depend on the attack (all)",
    )  # fmt: skip
    add_workers(group)
    group.add_argument(
        "--out", type=filled, metavar="FILE", default="compare.jsonl",
        help="where results go, one line each; given again, the comparison goes on. Beside it the "
        "table as .csv and .json, and the picture as .png (compare.jsonl)",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    if not ranks().first:
        plan = plan_beside(options.device or "auto", 1, ranks())
        return follow(functools.partial(_measured, plan=plan), ranks())
    return line_by_line(options.out, lambda out: _run(options, out))


def _run(options: argparse.Namespace, out: Path) -> int:
    if out.suffix in BESIDE:
        raise ValueError(f"--out {out}: {out.suffix} is for the table beside it; call it .jsonl")
    if (twins := options.clean_pairs) is not None and twins < 0:
        raise ValueError(f"clean_pairs must be at least 0, not {twins}")
    cells = _cells(options)
    done = rows_by_key(out, lambda row: trial_of(row).key, "a comparison")
    planned = _on_targets(cells, options)
    missing = [trial for trial in planned if trial.key not in done]
    record.append(out.resolve(), [])  # refused before the work, if it can't be written to
    failed = _measure(missing, len(planned), done, out, options)
    rows = [done[trial.key] for trial in planned if trial.key in done]
    if found := entries(rows):
        _write(out, found, options)
        show("\n".join(table(found)))
    for what in failed:
        say(f"mpkit: missing: {what}")
    return 2 if failed else 0


def _cells(options: argparse.Namespace) -> list[Trial]:
    """What is compared, without targets. Raises ValueError."""
    refuse_drawn(options, "a comparison")
    asked = given(options)
    lists = {
        name: named(some, LISTS[name], f"--{name.replace('_', '-')}")
        for name in LISTS
        if (some := getattr(options, name)) is not None
    }
    for one, many in SINGLE.items():
        if one in asked and getattr(options, many) is not None:
            flag = one.replace("_", "-")
            raise ValueError(f"--{flag}: name it in --{many.replace('_', '-')}, and leave it out")
    usual = make_attack(**asked)
    found = trials(
        asked,
        methods=lists["methods"],
        defended=lists["defended"],
        defenses=dict.fromkeys(("none", *lists["defenses"])),
        budgets=dict.fromkeys(options.budgets or (usual.budget,)),
        tunings=lists.get("fine_tunes") or (usual.fine_tune,),
        epsilons=dict.fromkeys(options.epsilons or (asked.get("epsilon"),)),
    )
    refuse_idle([trial.attack for trial in found], asked)
    return found


def _on_targets(cells: Sequence[Trial], options: argparse.Namespace) -> list[Trial]:
    """Every cell on every target; targets in turn, so that what is there early tells of all."""
    largest: dict[tuple[str, str], Attack] = {}  # for each way to train, the most poisons
    for a in sorted((cell.attack for cell in cells), key=lambda a: a.budget):
        largest[_training(a)] = a
    pairs = {}
    for training, attack in largest.items():
        # Of the usual method: one that flips labels would ask other classes for its poisons.
        usual = dataclasses.replace(attack, settings=cells[0].attack.settings)
        there = drawable(usual, not options.quiet)
        drawn = there.names, options.pairs, options.pairs_seed, there.indices
        pairs[training] = draw_pairs(*drawn)
    twins = options.pairs if options.clean_pairs is None else options.clean_pairs
    return [
        cell.on(pairs[_training(cell.attack)][i])
        for i in range(options.pairs)
        for cell in cells
        if cell.arm != CLEAN or i < twins
    ]


def _training(a: Attack) -> tuple[str, str]:
    """What decides which pictures are targets."""
    return a.fine_tune, a.tuning_of_victims


def _as_json(trial: Trial) -> dict:
    return {"arm": trial.arm, "attack": to_dict(trial.attack)}


def _measured(task: dict, plan: Plan | None = None) -> Iterator[dict]:
    """The rows of a group of trials."""
    group = [Trial(from_dict(t["attack"]), t["arm"]) for t in task["trials"]]
    return measured(group, plan)


def _measure(
    missing: Sequence[Trial], of: int, done: dict, out: Path, options: argparse.Namespace
) -> list[str]:
    """Do what is not done, into `done` and the file; what failed, in words, each once."""
    if not missing:
        return []
    failed: dict[str, None] = {}
    tasks = [{"trials": [_as_json(trial) for trial in group]} for group in groups(missing)]
    processes = processes_for(missing[0].attack.device, options.workers, len(tasks))
    plan = plan_beside(missing[0].attack.device, processes, ranks())
    work = functools.partial(_measured, plan=plan)
    with Progress("compare", "result", of, of - len(missing), options.quiet) as progress:
        for row in done_by(work, tasks, processes, ranks()):
            if "failed" in row:
                a = row["attack"]
                what = f"{a['settings']['method']} under {a['defense']['defense']}"
                failed[f"{what} ({row['arm']}): {row['failed']}"] = None
            else:
                record.append(out.resolve(), [row])
                done[trial_of(row).key] = row
            progress.reach(progress.done + 1)
    return list(failed)


# ── what came of it ─────────────────────────────────────────────────────────────────────────────


def _write(out: Path, found: Sequence[Entry], options: argparse.Namespace) -> None:
    """The table as CSV and JSON, and the picture, beside the results."""
    flat = [entry.flat for entry in found]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    lines = csv.DictWriter(text, names, restval="", lineterminator="\n")
    lines.writeheader()
    lines.writerows(flat)
    files.write(out.with_suffix(".csv"), text.getvalue().encode())
    # On one machine a seed gives the same poisons with the same versions alone.
    about = {"asked": given(options), "pairs": options.pairs, "pairs_seed": options.pairs_seed}
    about |= {"where": _where(options), "versions": versions()}
    text = json.dumps(strict(about | {"entries": flat}), indent=1, allow_nan=False)
    files.write(out.with_suffix(".json"), (text + "\n").encode())
    try:
        from mpkit.cli.compare_picture import picture
    except ImportError as error:
        say(f"mpkit: no picture without matplotlib ({error}): pip install 'mpkit[notebooks]'")
        return
    files.write(out.with_suffix(".png"), picture(found))


def _where(options: argparse.Namespace) -> str:
    """What was compared, in a sentence."""
    data, victims = (getattr(make_attack(**given(options)), k) for k in ("data", "victims"))
    return (
        f"mpkit compare on {data}: {options.pairs} targets drawn by seed {options.pairs_seed}, "
        f"{victims} victims each; intervals are over targets."
    )


def table(found: Sequence[Entry]) -> list[str]:
    """A line a method and defense, under a heading for what trains, how much is poisoned and ε."""
    lines, head = [], None
    for e in found:
        if head != (head := e.panel):
            targets = max(x.targets for x in found if head == x.panel)
            lines += [
                f"{', '.join(head)}, {targets} targets:",
                f"  {'method':<18} {'defense':<15} {'victims that turned':<24} "
                f"{'accuracy':<22} {'clean accuracy':<22} {'clean turned':<14} thrown away",
            ]
        clean = f"{e.clean_accuracy or '–'!s:<22} {_of(e.clean_turned):<14}"
        lines.append(
            f"  {e.method:<18} {e.defense:<15} {short(e.turned):<24} {e.accuracy or '–'!s:<22} "
            f"{clean} {_told(e, targets)}".rstrip()
        )
    return lines


def _of(found: Rate | None) -> str:
    return f"{found.successes} of {found.n}" if found else "–"


def _told(e: Entry, targets: int) -> str:
    """What a filter threw away; ε_DP; victims that diverged, targets that are not there yet."""
    parts = [f"{e.targets} of {targets} targets"] * (e.targets < targets)
    parts += [f"{e.diverged} diverged"] * bool(e.diverged)
    if e.caught is not None:
        told = f"{percent(e.caught, 0)} of poisons, {percent(e.lost, 0)} of others"
        parts.append(f"{told}, of clean pictures {percent(e.lost_clean, 0)}")
    parts += [e.privacy] * bool(e.privacy)
    return "; ".join(parts)
