"""``mpkit bench``: how well this machine's arithmetic is used, beside what it can do at most.

For each type of number: the rate of a large matrix product, of a convolution and of a copy, and of
the attack's meta-gradient and training steps, all measured in this run. Operations are counted, two
for each multiplication with a weight; bytes too, as if every operation read and wrote memory.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from mpkit.cli.options import add_attack_flags, attack_from, flags, given, homed, named, several
from mpkit.cli.output import refuse_unwritable, say, show
from mpkit.device import describe, make_reproducible, out_of_memory, pick_device, plan_for
from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import ARMS
from mpkit.runs.attack import Attack
from mpkit.runs.ceilings import CONVOLUTION, COPY, DTYPES, PRODUCT, Rate, achieved, ceilings
from mpkit.runs.origin import versions
from mpkit.runs.trial import META, VICTIM, parts_of, pieces, sizes_of

USUAL = "quickstart"
"""The scenario that is measured where nothing else is said."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to measure, how long, and where the numbers go."""
    group = parser.add_argument_group("bench")
    group.add_argument(
        "--dtypes", type=several(str), metavar="X", default=("float32",),
        help=f"types of numbers, with commas: {', '.join(DTYPES)} (float32)",
    )  # fmt: skip
    group.add_argument(
        "--seconds", type=float, metavar="X", default=1.0, help="for each measurement (1)"
    )
    group.add_argument("--json", type=homed, metavar="FILE", help="all numbers; - for stdout")
    add_attack_flags(parser, [name for name in flags() if name != "scale"])


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    refuse_unwritable(options.json)
    if not 0 <= options.seconds <= 600:
        raise ValueError(f"--seconds must lie between 0 and 600, not {options.seconds:g}")
    dtypes = named(options.dtypes, tuple(DTYPES), "--dtypes")
    options.scenario = options.scenario or (None if options.data else USUAL)
    attack = attack_from(options)
    device = pick_device(attack.device)
    make_reproducible(device)
    rates = {dtype: _measured(attack, device, DTYPES[dtype], options.seconds) for dtype in dtypes}
    told = {"device": describe(device), "versions": versions(), "asked": given(options)}
    told["rates"] = {k: [dataclasses.asdict(r) for r in rows] for k, rows in rates.items()}
    text = json.dumps(told, indent=1, allow_nan=False)
    if options.json not in (None, "-"):
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.json == "-":
        show(text)
        return 0
    show("\n".join(line for k, rows in rates.items() for line in table(k, rows)))
    say(f"{describe(device)}, torch {torch.__version__}, {attack.settings.compute} arithmetic")
    return 0


def _measured(attack: Attack, device: torch.device, dtype: torch.dtype, long: float) -> list[Rate]:
    """The ceilings, and then the attack's pieces. Raises ValueError for a type of numbers that this
    device cannot do all of it with."""
    s, rows = attack.settings, []
    try:
        rows = ceilings(device, dtype, long / 2)
        sizes = sizes_of(attack)
        for name, piece in pieces(attack, sizes).items():
            victim = name == VICTIM
            count = attack.victims * len(ARMS) if victim else s.models
            network = attack.victim_network if victim else attack.network
            parts = parts_of(attack, sizes.train) if name == META else 1
            plan = plan_for(count, device, parts)
            how = {"seconds": long, "dtype": dtype}
            models = min(count * parts, plan.chunk * plan.workers)
            what = f"{name}, {network or attack.network}"
            rows.append(achieved(what, piece, device, plan, models, **how))
    except (RuntimeError, TypeError) as error:
        if isinstance(error, RuntimeError) and out_of_memory(error):
            raise
        kind = str(dtype).removeprefix("torch.")
        why = str(error).partition("\n")[0]
        raise ValueError(f"{kind} does not do here ({why}): leave it out of --dtypes") from error
    return rows


def table(dtype: str, rows: list[Rate]) -> list[str]:
    """A line each: its time, its rates, and what share these are of the product's or convolution's,
    whichever is faster, and of the copy's."""
    best = max(r.operations for r in rows if r.what in (PRODUCT, CONVOLUTION))
    copied = next(r.moved for r in rows if r.what == COPY)
    wide = max(len(r.what) for r in rows)
    lines = [f"{dtype:<{wide}} {'ms':>9} {'GFLOP/s':>9} {'of best':>8} {'GB/s':>8} {'of copy':>8}"]
    for r in rows:
        cells = [f"{r.what:<{wide}}", f"{1000 * r.seconds:9.2f}"]
        for rate, ceiling, wides in ((r.operations, best, (9, 8)), (r.moved, copied, (8, 8))):
            known = rate is not None
            told = (f"{rate / 1e9:.4g}", percent(rate / ceiling, 0)) if known else ("", "")
            cells += [f"{text:>{width}}" for text, width in zip(told, wides, strict=True)]
        lines.append(" ".join(cells).rstrip())
    return [*lines, ""]
