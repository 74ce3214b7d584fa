"""Chapter 06: what it says of the recorded results."""

from __future__ import annotations

from mpkit.course.ch06 import CHANGES
from mpkit.course.exercises import EXERCISES
from mpkit.course.recorded import TABLES
from mpkit.evaluation.rates import rate


def test_the_exercise_on_recipes_asks_for_what_its_table_says():
    rows = TABLES["recipes"].results
    assert len(rows) == 1 + len(CHANGES)
    first, *others = (rate(r.successes, r.n) for r in rows)
    lost = {name for name, r in zip(CHANGES, others, strict=True) if r.high < first.low}
    assert EXERCISES["06.transfer"].judge(lost).right
