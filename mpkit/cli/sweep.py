"""``mpkit sweep``: the success rate over many attacks drawn by a seed, and its dose–response.

Every cell of the grid ε × K sees the same (target, poison class) pairs and the same victim seeds,
so that cells differ by the dose alone. Results are appended one by one: a sweep that was stopped
goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from pathlib import Path

from tqdm import tqdm

from mpkit import record
from mpkit.attack import Attack, draw_pairs, load_scenario, prepare, summarise, to_dict
from mpkit.cli.options import attack_from, number, several, whole
from mpkit.evaluation import rate
from mpkit.metapoison import poisons_of


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The grid, and where results go."""
    group = parser.add_argument_group("sweep")
    group.add_argument("--pairs", type=whole, default=20, help="attacks to draw (20)")
    group.add_argument("--pairs-seed", type=whole, default=1, help="the seed that draws them (1)")
    group.add_argument("--epsilons", type=several(number), help="values of ε, with commas")
    group.add_argument("--unrolls", type=several(whole), help="values of K, with commas")
    group.add_argument("--out", metavar="FILE", default="sweep.jsonl", help="(sweep.jsonl)")
    group.add_argument("--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done, 130 when interrupted. Raises ValueError for what is refused."""
    base, out = attack_from(options), Path(options.out)
    if options.pairs < 1:
        raise ValueError(f"pairs must be at least 1, not {options.pairs}")
    if base.goal != "targeted":
        raise ValueError("a sweep draws targeted attacks: leave out --goal")
    grid = [_cell(base, e, k) for e, k in itertools.product(
        options.epsilons or [base.settings.epsilon], options.unrolls or [base.settings.unroll_steps]
    )]  # fmt: skip
    names = load_scenario(base, not options.quiet).train.classes
    pairs = draw_pairs(names, options.pairs, options.pairs_seed)
    done = {json.dumps(row["attack"], sort_keys=True): row for row in record.read_lines(out)}
    attacks = [_with_pair(cell, pair) for pair in pairs for cell in grid]
    rows = []
    try:
        for attack in tqdm(attacks, unit="attack", disable=options.quiet):
            key = json.dumps(_plain(attack), sort_keys=True)
            if key not in done:
                done[key] = {"attack": _plain(attack), "arms": _measure(attack)}
                with open(out, "a", encoding="utf-8") as file:
                    file.write(json.dumps(done[key]) + "\n")
            rows.append((attack, done[key]["arms"]))
    except KeyboardInterrupt:
        print(f"\nStopped; {out} keeps what is done. Give the same command again.", file=sys.stderr)
        return 130
    print("\n".join(table(rows)))
    return 0


def _cell(base: Attack, epsilon: float, unroll_steps: int) -> Attack:
    settings = dataclasses.replace(base.settings, epsilon=epsilon, unroll_steps=unroll_steps)
    return dataclasses.replace(base, settings=settings)


def _with_pair(attack: Attack, pair: tuple[str, str, int]) -> Attack:
    target, poison, index = pair
    return dataclasses.replace(
        attack, target_class=target, poison_class=poison, target_index=(index,)
    )


def _plain(attack: Attack) -> dict:
    """The attack as JSON gives it back, lists for tuples: what rows are compared by."""
    return json.loads(json.dumps(to_dict(attack)))


def _measure(attack: Attack) -> dict:
    ready = prepare(attack, progress=False)
    *_, (state, _) = ready.craft()
    *_, (_, victims) = ready.judge(poisons_of(ready.scenario, state, attack.settings))
    return summarise(attack, victims)


def table(rows: list[tuple[Attack, dict]]) -> list[str]:
    """One line a cell of the grid: success over pairs × victims in each arm, and accuracy."""
    cells: dict[tuple[float, int], list[dict]] = {}
    for attack, arms in rows:
        cells.setdefault((attack.settings.epsilon, attack.settings.unroll_steps), []).append(arms)
    lines = []
    for (epsilon, unroll_steps), found in sorted(cells.items()):
        lines.append(f"ε = {epsilon:.4g} ({255 * epsilon:.1f}/255), K = {unroll_steps}:")
        for arm in found[0]:
            successes = [arms[arm]["success"] for arms in found]
            total = rate(sum(s["successes"] for s in successes), sum(s["n"] for s in successes))
            accuracy = sum(arms[arm]["accuracy"] for arms in found) / len(found)
            lines.append(f"  {arm:<9} {total} over {len(found)} pairs, accuracy {accuracy:.1%}")
    return lines
