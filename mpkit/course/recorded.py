"""Results that were recorded elsewhere, because they take longer than a lesson.

All on two CPU cores (AMD EPYC, 2.6 GHz), torch 2.13.0, the digits at the laptop's scale (500
pictures, 50 poisons, ε = 26/255, K = 3, M = 8, 20 craft steps unless said otherwise): eight targets
drawn at random × 6 fresh victims, by ``mpkit sweep --pairs 8 --pairs-seed 2 --victims 6`` and the
flags named.
"""

from __future__ import annotations

import html
from typing import NamedTuple

from mpkit.evaluation import rate

WHERE = (
    "Recorded on two CPU cores (AMD EPYC, 2.6 GHz) with the noisy digits: 8 random targets × 6 "
    "fresh victims a row; success with its 95 % Wilson interval."
)


class Result(NamedTuple):
    """One line of a table: what was varied, how many turned of how many, the flags of the sweep,
    and the poisoned victims' accuracy (None where it was not noted)."""

    label: str
    successes: int
    n: int
    flags: str
    accuracy: float | None = None


class Table:
    """A table of results that shows itself, as HTML and as text."""

    def __init__(self, results: list[Result], where: str = WHERE):
        self.results, self.where = results, where

    def __str__(self) -> str:
        return "\n".join(f"{r.label}: {rate(r.successes, r.n)}" for r in self.results)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = []
        for r in self.results:
            found = rate(r.successes, r.n)
            cells = [r.label, f"{r.successes}/{r.n}", f"{found.rate:.0%}"]
            cells.append(f"{found.low:.0%} to {found.high:.0%}")
            cells.append("" if r.accuracy is None else f"{r.accuracy:.1%}")
            inner = "".join(f"<td>{html.escape(c)}</td>" for c in cells)
            rows.append(f"<tr title='mpkit sweep {html.escape(r.flags)}'>{inner}</tr>")
        heads = ("", "turned", "rate", "95 % interval", "accuracy")
        head = "".join(f"<th scope='col'>{h}</th>" for h in heads)
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
            f"<p>{html.escape(self.where)}</p>"
        )


TABLES: dict[str, Table] = {
    "ensemble": Table(
        [
            Result("8 surrogates, staggered", 35, 48, "", 0.832),
            Result("8, all of one age", 31, 48, "--stagger no", 0.835),
            Result("a single one", 46, 48, "--models 1", 0.846),
            Result("8, 60 craft steps", 11, 48, "--craft-steps 60", 0.838),
            Result("a single one, 60 craft steps", 16, 48, "--models 1 --craft-steps 60", 0.841),
        ]
    ),
    "dose": Table(
        [
            Result(
                f"ε = {e}/255, K = {k}",
                turned,
                48,
                f"--epsilon {e}/255 --unroll-steps {k}",
            )
            for e, row in ((13, (0, 0, 7)), (20, (3, 11, 36)), (26, (7, 36, 45)))
            for k, turned in zip((1, 2, 4), row, strict=True)
        ]
    ),
    "survey": Table(
        [
            Result("poisons", 105, 120, "--pairs 20", 0.833),
            Result("clean pictures", 0, 120, "--pairs 20", 0.861),
            Result("random noise of the same ε", 0, 120, "--pairs 20", 0.861),
        ],
        WHERE.replace("8 random targets", "20 random targets"),
    ),
}
"""By the question they answer."""
