"""Results that were recorded elsewhere."""

from __future__ import annotations

import re

import pytest

from mpkit.course.recorded import TABLES, Result, Table
from mpkit.evaluation.rates import clustered_rate, rate


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
    table = TABLES[name]
    for row in table.results:
        assert len(row.each) in (0, len(table.targets))
        assert not row.each or sum(row.each) == row.successes
        assert not row.each or max(row.each) <= row.n / len(row.each)
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
    assert "<th scope='row'>ε &lt;1&gt;</th><td>3/8</td><td>38%</td>" in html
    assert "<td>50.0%</td>" in html
    assert "<td>–</td>" in html
    assert "<p>Here. Accuracy" in html
    assert html.count("<tr") == 3
    assert f"title='{table.command} --epsilon 1/255'" in html


def test_rows_on_the_same_targets_are_shown_and_compared_target_by_target():
    rows = [Result("a", 5, 8, each=(4, 1)), Result("b", 1, 8, each=(1, 0)), Result("c", 2, 8)]
    table = Table(rows, "Here.", "mpkit sweep", ["x → y, near", "y → <x>, far"])
    assert table.row("a").rate == clustered_rate([4, 1], [4, 4])
    assert (table.compare("a", "b").more, table.compare("b", "a").fewer) == (2, 2)
    assert table.compare("a", "b").difference == 0.5
    html = table._repr_html_()
    assert "title='y → &lt;x&gt;, far: 1 of 4'>1</td>" in html
    assert "Targets, with victims that turned: 1 x → y, near; 2 y → &lt;x&gt;, far." in html
    assert html.count("<td") == 3 * (2 + 4) + 1
    with pytest.raises(ValueError, match=r"no row 'd'; there are: a, b, c"):
        table.row("d")
    with pytest.raises(ValueError, match="no pairs"):
        table.compare("a", "c")
