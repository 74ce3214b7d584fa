"""Chapter 06: what it says of the recorded results."""

from __future__ import annotations

import ast
import math

import pytest

from mpkit.course.ch06 import CHANGES, needed
from mpkit.course.exercises import EXERCISES
from mpkit.course.recorded import TABLES, Result, Table


def test_the_exercise_on_recipes_asks_for_what_its_table_says():
    first, *others = TABLES["recipes"].results
    assert len(others) == len(CHANGES)
    against = [TABLES["recipes"].compare(row.label, first.label) for row in others]
    found = zip(CHANGES, against, strict=True)
    lost = {name for name, pair in found if pair.luck < 0.05 and pair.fewer > pair.more}
    assert EXERCISES["06.transfer"].judge(lost).right
    assert ast.literal_eval(EXERCISES["06.transfer"].solution) == lost


def test_the_budget_that_a_target_needs_is_the_smallest_at_which_most_victims_turned():
    each = [(0, 4, 2), (1, 4, 2), (3, 4, 2)]
    rows = [
        Result(f"{100 * share:.1f}%", sum(k), 12, each=k)
        for share, k in zip((0.01, 0.05, 0.1), each, strict=True)
    ]
    found = needed(Table(rows, "", "", ["a", "b", "c"]))
    assert found[:2] == pytest.approx([0.1, 0.01])
    assert math.isnan(found[2])


def test_the_table_of_budgets_has_a_margin_for_each_target():
    table = TABLES["budget"]
    assert len(table.margins) == len(table.targets) == len(needed(table))
    assert not any(math.isnan(share) for share in needed(table))
