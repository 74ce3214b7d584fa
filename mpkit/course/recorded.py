"""Results that were recorded elsewhere, because they take longer than a lesson.

All on two CPU cores (AMD EPYC, 2.6 GHz), torch 2.13.0. Each table says in `where` what was done,
and in `command` and the rows' `flags` how to do it again. Where targets are named, every row has
met the same ones, and ``python tests/benchmarks/paired.py`` does all rows of a table in one go.
"""

from __future__ import annotations

import html
import json
from typing import NamedTuple

from mpkit.data.places import SHIPPED
from mpkit.evaluation.rates import Paired, Rate, clustered_rate, paired, percent, rate


class Result(NamedTuple):
    """One line of a table: what was varied, how many turned of how many, the flags of the sweep,
    the poisoned victims' accuracy (None where it was not noted), and the successes of `each`
    target, where the table names them."""

    label: str
    successes: int
    n: int
    flags: str = ""
    accuracy: float | None = None
    each: tuple[int, ...] = ()

    @property
    def rate(self) -> Rate:
        """With an interval that knows which victims share poisons, where that was noted."""
        if not self.each:
            return rate(self.successes, self.n)
        return clustered_rate(self.each, [self.n // len(self.each)] * len(self.each))


class Table:
    """A table of results that shows itself, as HTML and as text; `command` takes their flags.
    `targets` names what every row has met, in the order of their `each`; `margins` are theirs."""

    def __init__(self, results: list[Result], where: str, command: str, targets=(), margins=()):
        self.results, self.where, self.command = results, where, command
        self.targets, self.margins = tuple(targets), tuple(margins)

    def row(self, label: str) -> Result:
        """The row of that label. Raises ValueError naming those that there are."""
        rows = {r.label: r for r in self.results}
        if label not in rows:
            raise ValueError(f"there is no row {label!r}; there are: {', '.join(rows)}")
        return rows[label]

    def compare(self, first: str, second: str) -> Paired:
        """Two rows on the same targets. Raises ValueError where targets were not noted."""
        a, b = self.row(first), self.row(second)
        return paired(a.each, b.each, a.n // max(1, len(a.each)))

    def __str__(self) -> str:
        return "\n".join(f"{r.label}: {r.rate}" for r in self.results)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for r in self.results:
            found = r.rate
            cells = [f"<th scope='row'>{html.escape(r.label)}</th>", *self._each(r)]
            told = [f"{r.successes}/{r.n}", percent(found.rate, 0)]
            told += [f"{percent(found.low, 0)} to {percent(found.high, 0)}", percent(r.accuracy)]
            cells += [f"<td>{cell}</td>" for cell in told]
            how = html.escape(f"{self.command} {r.flags}")
            rows.append(f"<tr title='{how}'>{''.join(cells)}</tr>")
        numbers = [
            f"<th scope='col' style='padding:4px' title='{html.escape(t, True)}'>{i}</th>"
            for i, t in self._numbered()
        ]
        names = ("turned", "rate", "95 % interval", "accuracy")
        head = "".join(["<td></td>", *numbers, *(f"<th scope='col'>{n}</th>" for n in names)])
        named = "; ".join(f"{i} {t}" for i, t in self._numbered())
        named = f" Targets, with victims that turned: {named}." if named else ""
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p>"
            f"{html.escape(self.where + named)} Accuracy: of the victims, where it was noted.</p>"
        )

    def _numbered(self) -> list[tuple[int, str]]:
        return list(enumerate(self.targets, 1))

    def _each(self, r: Result) -> list[str]:
        """A cell a target, the darker the more of its victims turned."""
        of, cells = r.n // max(1, len(r.each)), []
        for (_, target), k in zip(self._numbered(), r.each, strict=False):
            title = html.escape(f"{target}: {k} of {of}", True)
            shade = f"background:rgba(230,159,0,{0.75 * k / of:.2f});text-align:center;padding:4px"
            cells.append(f"<td style='{shade}' title='{title}'>{k}</td>")
        return cells or ["<td></td>"] * len(self.targets)


def tables() -> dict[str, Table]:
    """All of data/recorded/course.json, by the question they answer."""
    found = json.loads((SHIPPED / "recorded" / "course.json").read_text(encoding="utf-8"))
    return {name: Table([Result(**row) for row in t.pop("rows")], **t) for name, t in found.items()}


TABLES = tables()
