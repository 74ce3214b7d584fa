"""Results that were recorded elsewhere, because they take longer than a lesson.

All on two CPU cores (AMD EPYC, 2.6 GHz), torch 2.13.0, the digits at the laptop's scale (500
pictures, 50 poisons, ε = 26/255, K = 3, M = 8, 20 craft steps unless said otherwise): eight targets
drawn at random × 6 fresh victims, by ``mpkit sweep --data digits --pairs 8 --pairs-seed 2
--victims 6`` and the flags named. CIFAR-10 is a single attack; its table says how it was run.
"""

from __future__ import annotations

import html
import json
from typing import NamedTuple

from mpkit.data.places import SHIPPED
from mpkit.evaluation.rates import percent, rate


class Result(NamedTuple):
    """One line of a table: what was varied, how many turned of how many, the flags of the sweep,
    and the poisoned victims' accuracy (None where it was not noted)."""

    label: str
    successes: int
    n: int
    flags: str = ""
    accuracy: float | None = None


class Table:
    """A table of results that shows itself, as HTML and as text; `command` takes their flags."""

    def __init__(self, results: list[Result], where: str, command: str):
        self.results, self.where, self.command = results, where, command

    def __str__(self) -> str:
        return "\n".join(f"{r.label}: {rate(r.successes, r.n)}" for r in self.results)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for r in self.results:
            found = rate(r.successes, r.n)
            cells = [r.label, f"{r.successes}/{r.n}", percent(found.rate, 0)]
            cells.append(f"{percent(found.low, 0)} to {percent(found.high, 0)}")
            cells.append(percent(r.accuracy))
            inner = "".join(f"<td>{html.escape(c)}</td>" for c in cells)
            how = html.escape(f"{self.command} {r.flags}")
            rows.append(f"<tr title='{how}'>{inner}</tr>")
        heads = ("", "turned", "rate", "95 % interval", "accuracy")
        head = "".join(f"<th scope='col'>{h}</th>" for h in heads)
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<p>{html.escape(self.where)} Accuracy: of the victims, where it was noted.</p>"
        )


def tables() -> dict[str, Table]:
    """All of data/recorded/course.json, by the question they answer."""
    found = json.loads((SHIPPED / "recorded" / "course.json").read_text(encoding="utf-8"))
    return {
        name: Table([Result(**row) for row in t["rows"]], t["where"], t["command"])
        for name, t in found.items()
    }


TABLES = tables()
