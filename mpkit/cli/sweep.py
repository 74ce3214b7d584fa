"""``mpkit sweep``: the success rate over many targets drawn by a seed, and its dose–response.

Every cell of the grid ε × K sees the same (target, poison class) pairs, so that cells differ in the
dose only; each pair has seeds of its own, so that pairs are independent. Results are appended one
by one: a sweep that was stopped goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from mpkit.cli.options import (
    add_drawing,
    add_workers,
    as_flag,
    attack_from,
    filled,
    given,
    number,
    refuse_drawn,
    several,
    whole,
)
from mpkit.cli.output import Progress, line_by_line, show
from mpkit.cli.thirds import thirds_table
from mpkit.device import Plan
from mpkit.evaluation.tally import BY, by_target, means_of, percent, tallies, with_diverged, words
from mpkit.evaluation.targets import Target
from mpkit.group import ranks
from mpkit.metapoison import poisons_of
from mpkit.runs import record
from mpkit.runs.attack import Attack
from mpkit.runs.grid import Pair, drawable, key_of, rows_by_key, with_pair
from mpkit.runs.idle import idle
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import prepare
from mpkit.runs.saved import from_dict, to_dict
from mpkit.runs.workers import done_by, follow, plan_beside, processes_for


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The grid, and where results go."""
    group = parser.add_argument_group("sweep")
    add_drawing(group)
    group.add_argument(
        "--epsilons", type=several(number), metavar="X", help="values of ε, with commas"
    )
    group.add_argument(
        "--unrolls", type=several(whole), metavar="X", help="values of K, with commas"
    )
    group.add_argument(
        "--out", type=filled, metavar="FILE", default="sweep.jsonl",
        help="where results go, one line an attack; given again, the sweep goes on (sweep.jsonl)",
    )  # fmt: skip
    add_workers(group)
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    if not ranks().first:
        plan = plan_beside(options.device or "auto", 1, ranks())
        return follow(functools.partial(_measured, plan=plan), ranks())
    return line_by_line(options.out, lambda out: _run(options, out))


def _run(options: argparse.Namespace, out: Path) -> int:
    base = attack_from(options)
    grid = _grid(base, options)
    # A setting that did not exist when a row was written has its usual value.
    done = rows_by_key(out, _key_of_row, "a sweep")
    drawn = _drawn(base, grid, options, done)
    attacks = {key_of(a): (a, t) for pair, t in drawn for a in (with_pair(c, pair) for c in grid)}
    missing = {key: attack for key, attack in attacks.items() if key not in done}
    known = len(attacks) - len(missing)
    record.append(out.resolve(), [])  # refused before the work, if it can't be written to
    with Progress("sweep", "attack", len(attacks), known, options.quiet) as progress:
        tasks = [
            {"attack": to_dict(a), "target": dataclasses.asdict(t)} for a, t in missing.values()
        ]
        processes = processes_for(base.device, options.workers, len(tasks))
        plan = plan_beside(base.device, processes, ranks())
        work = functools.partial(_measured, plan=plan)
        for row in done_by(work, tasks, processes, ranks()):
            done[_key_of_row(row)] = row
            record.append(out.resolve(), [row])
            progress.reach(progress.done + 1)
    rows = [(a, done[key]["arms"], dataclasses.asdict(t)) for key, (a, t) in attacks.items()]
    show("\n".join(table(rows)))
    return 0


def _grid(base: Attack, options: argparse.Namespace) -> list[Attack]:
    """The cells, without a target yet. Raises ValueError for flags that a sweep can't follow."""
    refuse_drawn(options, "a sweep")
    axes = []
    for name, values in (("epsilon", options.epsilons), ("unroll_steps", options.unrolls)):
        if values and (why := idle(base, (name,), as_flag).get(name)):
            what = "--epsilons" if name == "epsilon" else "--unrolls"
            raise ValueError(f"{what} does nothing {why}: leave it out")
        if values is not None and name in given(options):
            raise ValueError(f"--{name.replace('_', '-')} beside a list of its values: give one")
        if values == ():
            raise ValueError("--epsilons and --unrolls want one value or more, with commas")
        # Each once: a cell that stands there twice would count its victims twice.
        axes.append(dict.fromkeys(values or [getattr(base.settings, name)]))
    cells = itertools.product(*axes)
    return [
        dataclasses.replace(
            base, settings=dataclasses.replace(base.settings, epsilon=e, unroll_steps=k)
        )
        for e, k in cells
    ]


def _drawn(
    base: Attack, grid: list[Attack], options: argparse.Namespace, done: dict[str, dict]
) -> list[tuple[Pair, Target]]:
    """What is drawn among the targets of every two classes. Raises ValueError."""
    there = drawable(base, not options.quiet)
    old = _drawn_of_old(there.labels, there.names, options)
    keys = {key_of(with_pair(cell, pair)) for pair in old for cell in grid}
    begun = any("target" not in done[key] for key in keys & done.keys())
    drawn = old
    if not begun:
        drawn = draw_pairs(there.names, options.pairs, options.pairs_seed, there.indices)
    return [(pair, there.target(pair)) for pair in drawn]


def _drawn_of_old(
    labels: Tensor, names: tuple[str, ...], options: argparse.Namespace
) -> list[Pair]:
    """What the same command drew before targets were chosen by their margins: a sweep that was
    begun then goes on."""
    tested = min(20, labels.bincount(minlength=len(names)).min().item())
    there = len(names) * (len(names) - 1) * tested
    return draw_pairs(names, min(options.pairs, there), options.pairs_seed, tested)


def _key_of_row(row: dict) -> str:
    _ = row["arms"]
    return key_of(from_dict(row["attack"]))


def _measured(task: dict, plan: Plan | None = None) -> Iterator[dict]:
    """A row of the results: the task, and what came of it."""
    arms = _measure(from_dict(task["attack"]), plan)
    yield {"attack": task["attack"], "arms": arms, "target": task["target"]}


def _measure(attack: Attack, plan: Plan | None = None) -> dict:
    ready = prepare(attack, False, plan, plan)
    *_, (state, _) = ready.craft()
    *_, (_, victims) = ready.judge(poisons_of(ready.scenario, state, attack.settings))
    return tallies(victims)


def table(rows: list[tuple[Attack, dict, dict]]) -> list[str]:
    """Of each cell of the grid and each arm: targets that fell, victims that turned, and means; and
    the thirds side by side. `rows`: attack, its arms, its target as JSON."""
    cells: dict[tuple, list[tuple[dict, dict]]] = {}
    for attack, arms, target in rows:
        s = attack.settings
        cell = s.epsilon, s.unroll_steps, f"{s.bounds_in_words}, {s.how_in_words}"
        cells.setdefault(cell, []).append((target, arms))
    epochs, lines = min(a.victim_recipe.epochs for a, *_ in rows), []
    for (*_, how), both in sorted(cells.items(), key=lambda cell: cell[0]):
        found = [arms for _, arms in both]
        lines.append(f"{how}:")
        for arm in found[0]:
            lines += _arm(arm, [arms[arm] for arms in found], epochs)
        lines += thirds_table(both)
    return lines


def _arm(arm: str, tallies: list[dict], epochs: int) -> list[str]:
    """One arm of a cell; by the other statistics of batch norm as well, where all have them."""
    means = means_of(tallies)
    lines = _counts(arm, tallies)
    if more := words(means, "the adversarial class", "the true one", epochs):
        lines.append(f"  {'':<9} {more}")
    others = [t["other_statistics"] for t in tallies if t.get("other_statistics")]
    if len(others) == len(tallies):
        lines.append(f"  {'':<9} with batch norm by {BY[others[0]['statistics']]}:")
        lines += _counts("", others)
    return lines


def _counts(arm: str, tallies: list[dict]) -> list[str]:
    means, (fell, turned) = means_of(tallies), by_target(tallies)
    victims = with_diverged(turned, means["diverged"])
    return [
        f"  {arm:<9} targets that fell {fell}",
        f"  {'':<9} victims {victims}, accuracy {percent(means['accuracy'])}",
    ]
