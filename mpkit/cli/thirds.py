"""Rates by how near a target's clean margin was: near, middle and far side by side."""

from __future__ import annotations

from mpkit.evaluation.rates import Rate, clustered_rate, fallen, percent
from mpkit.evaluation.targets import THIRDS

LINES = (
    ("targets that fell", "poisoned", fallen),
    ("victims that turned", "poisoned", clustered_rate),
    ("the same, no poison", "clean", clustered_rate),
)
WIDTH = 26


def thirds_table(rows: list[tuple[dict, dict]]) -> list[str]:
    """`rows`: (target as JSON, arms) of each attack. A column a third that was drawn, and one more
    for pictures that are no targets (older sweeps drew them too)."""
    columns = {
        third: [arms for target, arms in rows if target["third"] == third]
        for third in (*THIRDS, None)
    }
    columns = {third: found for third, found in columns.items() if found}
    heads = [f"{third or 'no target':<{WIDTH}}" for third in columns]
    lines = [f"  {'by clean margin':<21}{''.join(heads)}".rstrip()]
    for label, arm, rate in LINES:
        cells = [_cell(found, arm, rate) for found in columns.values()]
        lines.append(f"  {label:<21}{''.join(f'{cell:<{WIDTH}}' for cell in cells)}".rstrip())
    return lines


def _cell(found: list[dict], arm: str, rate) -> str:
    counts = [(a[arm]["success"]["successes"], a[arm]["success"]["n"]) for a in found]
    return short(rate(*zip(*counts, strict=True)))


def short(r: Rate) -> str:
    """5/7 = 71 % (36 to 92)"""
    low, high = (percent(end, 0).removesuffix("%") for end in (r.low, r.high))
    return f"{r.successes}/{r.n} = {percent(r.rate, 0)} ({low} to {high})"
