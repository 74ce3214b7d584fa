"""``mpkit scenarios``: the attacks of the paper and the talk by name, and what each needs.

Memory and operations are counted. The time on this machine is an estimate: a few meta-gradients and
training steps of each network are run, and scaled up. It supposes a machine with no other work.
Flags of mpkit attack go before a scenario's settings here too, such as --victims 2.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import textwrap
import time
from collections.abc import Collection
from pathlib import Path

from mpkit.cli.options import add_attack_flags, flags, given, homed, named
from mpkit.cli.output import refuse_unwritable, say, show
from mpkit.device import describe, make_reproducible, pick_device
from mpkit.runs import scenarios
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.needs import ENOUGH, Needs, needs, seconds, tried
from mpkit.runs.trial import META, sizes_of
from mpkit.setting import settings_of
from mpkit.settings import Settings

WIDE = 100
"""Letters of a line."""
QUICK = ENOUGH / 10
"""Operations that are tried at a time where all scenarios are: within half a minute or so."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which scenarios, and what to find out."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="scenarios, with their settings and sources (all)"
    )
    parser.add_argument("--no-trial", action="store_true", help="try nothing, and tell no time")
    parser.add_argument(
        "--json", type=homed, metavar="FILE", help="write the list there too; - for stdout"
    )
    add_attack_flags(parser, [name for name in flags() if name not in ("scenario", "scale")])


def run(options: argparse.Namespace) -> int:
    """The command: 0 when done. Raises ValueError for what is refused."""
    refuse_unwritable(options.json)
    names = named(options.names or ["all"], scenarios.names(), "scenario")
    attacks = {name: make_attack(scenario=name, **given(options)) for name in names}
    device = pick_device(next(iter(attacks.values())).device)
    make_reproducible(device)
    rows, known, began = [], {}, time.perf_counter()
    for name, attack in attacks.items():
        sizes = sizes_of(attack)
        found = needs(attack, sizes, device)
        enough = QUICK if len(names) > 1 else ENOUGH
        times = {} if options.no_trial else tried(attack, sizes, device, known, enough)
        rows.append(_row(name, attack, found, times))
    text = json.dumps(rows, indent=1, allow_nan=False)
    if options.json not in (None, "-"):
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.json == "-":
        show(text)
        return 0
    for row in rows if options.names else ():
        show("\n".join([*_described(row["name"], attacks[row["name"]], given(options)), ""]))
    show("\n".join(table(rows)))
    say(f"\n{describe(device)}. {_caution(options.no_trial, time.perf_counter() - began)}")
    return 0


def _row(name: str, attack: Attack, found: Needs, times: dict[str, float]) -> dict:
    s, about = attack.settings, scenarios.about(name)
    return {
        "name": name,
        **about,
        "network": attack.network,
        "victim_network": attack.victim_network or attack.network,
        "models": s.models,
        "unroll_steps": s.unroll_steps,
        "craft_steps": s.craft_steps,
        "victims": attack.victims,
        **dataclasses.asdict(found),
        "seconds_a_piece": times,
        "seconds": seconds(found, times) if times else None,
    }


def table(rows: list[dict]) -> list[str]:
    """A line a scenario: what it is of, what it needs, and how long it would take here."""
    heads = ("scenario", "images", "poisons", "surrogates", "M", "K", "C", "victims", "GiB",
             "operations", "time here")  # fmt: skip
    cells = [
        (
            r["name"], f"{r['images']:,}", f"{r['poisons']:,}", r["network"], str(r["models"]),
            str(r["unroll_steps"]) if META in r["counts"] else "–", str(r["craft_steps"]),
            f"{r['victims']} {r['victim_network']}",
            f"{r['device'] / 2**30:.1f}", f"{r['operations']:.1e}", told(r["seconds"]),
        )
        for r in rows
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in (heads, *cells)) for i in range(len(heads))]
    left = {0, 3, 7}
    return [
        "  ".join(c.ljust(w) if i in left else c.rjust(w)
                  for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in (heads, *cells)
    ]  # fmt: skip


def told(spent: float | None) -> str:
    """Seconds in words, of two digits."""
    if spent is None:
        return "–"
    for unit, long in (("days", 86_400), ("h", 3600), ("min", 60)):
        if spent >= 2 * long:
            return f"{float(f'{spent / long:.2g}'):g} {unit}"
    return f"{float(f'{spent:.2g}'):g} s"


def _described(name: str, attack: Attack, asked: Collection[str]) -> list[str]:
    """A scenario in words, and each of its settings with its source: of those `asked` for none."""
    about, by_source = scenarios.about(name), {}
    for setting, source in scenarios.sources(name).items():
        said = by_source.setdefault("said here" if setting in asked else source, [])
        said.append(f"{setting} {given_value(attack, setting)}")
    lines = [f"{', '.join(said)} ({source})" for source, said in by_source.items()]
    wrap = functools.partial(textwrap.fill, width=WIDE)
    inner = {"initial_indent": "  ", "subsequent_indent": "    "}
    first = [wrap(f"{name}: {about['title']}"), *filter(None, [wrap(about["note"])])]
    return first + [wrap(line, **inner) for line in lines]


def given_value(attack: Attack, name: str) -> str:
    """A setting of an attack as a flag has it."""
    own = name.removeprefix("victim_")
    holders = (attack, attack.settings, attack.settings.recipe)
    holder = next((h for h in holders if name in settings_of(type(h))), attack.victim_recipe)
    value = getattr(holder, name if holder is not attack.victim_recipe else own)
    if name == "epsilon":
        return f"{settings_of(Settings)[name].shown(value):g}/255"
    return ",".join(map(str, value)) or "none" if isinstance(value, tuple) else f"{value}"


def _caution(no_trial: bool, took: float) -> str:
    words = (
        "Memory and operations are counted for a whole run with its controls, and with the clean "
        "models that find a target where none is named"
    )
    if no_trial:
        return f"{words}."
    return (
        f"{words}. The time is an estimate from {took:.0f} s of trial: expect it to be off by a "
        "third, and by more where the machine has other work to do meanwhile."
    )
