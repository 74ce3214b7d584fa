"""Results that were recorded elsewhere."""

from __future__ import annotations

import re

import pytest

from mpkit.course.recorded import TABLES, Result, Table
from mpkit.evaluation.rates import rate


def test_flags_of_recorded_results_are_flags_of_the_command_line(capsys):
    from mpkit.__main__ import main

    for table in TABLES.values():
        command = table.command.split()[1]
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        for row in table.results:
            assert set(re.findall(r"--[a-z-]+", row.flags)) <= known, row


@pytest.mark.parametrize("name", TABLES)
def test_every_row_is_a_rate_with_an_accuracy_that_is_a_share(name):
    for row in TABLES[name].results:
        assert rate(row.successes, row.n)
        assert row.accuracy is None or 0 < row.accuracy < 1
    labels = [row.label for row in TABLES[name].results]
    assert len(set(labels)) == len(labels)


def test_a_table_shows_itself_in_words_and_in_html():
    table = Table(
        [Result("ε <1>", 3, 8, "--epsilon 1/255", 0.5), Result("b", 0, 8, "")],
        "Here.",
        "mpkit sweep",
    )
    assert str(table) == f"ε <1>: {rate(3, 8)}\nb: {rate(0, 8)}"
    html = table._repr_html_()
    assert "<td>ε &lt;1&gt;</td><td>3/8</td><td>38%</td>" in html
    assert "<td>50.0%</td>" in html
    assert "<td>–</td>" in html
    assert "<p>Here. Accuracy" in html
    assert html.count("<tr") == 3
    assert f"title='{table.command} --epsilon 1/255'" in html
