"""What was recorded of attacks against defenses, beside what others published."""

from __future__ import annotations

import json
import re

import pytest

from mpkit.course.defenses import (
    NOT_YET,
    PUBLISHED,
    RECORDED,
    Beside,
    Comparison,
    comparison,
    draw,
    draw_times,
    turned,
)
from mpkit.course.recorded import TABLES
from mpkit.defenses.defense import DEFENSES
from mpkit.finetuning import FINE_TUNE
from tests.lab.kit.test_numbers import free


def entry(defense: str = "jpeg", **other) -> dict:
    found = {"fine_tune": "no", "budget": 0.1, "method": "gradient-matching", "defense": defense}
    found |= {"turned_successes": 3, "turned_n": 40, "turned_low": 0.02, "turned_high": 0.3}
    return found | {"turned_share": 0.075, "clean_accuracy_value": 0.71, "caught": None} | other


def _cells(html: str) -> dict[str, list[str]]:
    """What stands in each row, by its name."""
    rows = re.findall(r"<tr><th scope='row'>(.*?)</th>(.*?)</tr>", html, re.S)
    return {name: re.findall(r"<td.*?>(.*?)</td>", row, re.S) for name, row in rows}


@pytest.fixture
def some():
    return Comparison([entry("none"), entry(), entry("loss", caught=0.5, lost=0.1)], "Here & now.")


def test_a_comparison_shows_its_defenses_in_rows_and_its_methods_in_columns(some):
    html = some._repr_html_()
    assert _cells(html)["jpeg"] == ["3/40\n(2% to 30%)", "71.0%", "", ""]
    assert _cells(html)["loss"] == ["3/40\n(2% to 30%)", "71.0%", "50%", "10%"]
    assert "thrown away of gradient-matching&#x27;s poisons" in html
    assert "Here &amp; now." in html
    assert "from scratch, gradient-matching, jpeg: 3/40 (2% to 30%)" in str(some)
    assert [e["defense"] for e in some.of("gradient-matching", "no")] == ["none", "jpeg", "loss"]
    assert some.find("gradient-matching", "all", "jpeg") is None


def test_methods_that_met_no_defense_stand_in_a_table_of_their_own(some):
    alone = entry("none", method="noise")
    two = Comparison([*some.entries, alone])._repr_html_().split("</table>")
    assert [len(set(_cells(t)["none"])) for t in two[:2]] == [3, 2]
    assert "noise" not in two[0]
    assert "gradient-matching" not in two[1]
    assert "thrown away" not in two[1]


def test_what_dp_sgd_spends_is_told_and_each_bound_has_its_table():
    spent = entry("dp-sgd", epsilon=8 / 255, privacy="ε_DP = 12.3 at δ = 1e-05")
    html = Comparison([spent, entry("dp-sgd", epsilon=16 / 255)])._repr_html_()
    assert "ε_DP = 12.3 at δ = 1e-05" in html
    assert [f"10% poisons, ε = {e}/255" in html for e in (8, 16, 20)] == [True, True, False]
    assert html.count("<table>") == 2


def test_published_figures_stand_beside_ours_where_both_are(some):
    beside = Beside(some)
    rows = [row for source in beside.published for row in beside.rows(source)]
    jpeg = ["gradient-matching", "jpeg", "0%", "90.0%", turned(entry()), "71.0%"]
    assert jpeg in rows
    assert ["gradient-matching", "diffusion", "0%", "90.9%", "–", ""] in rows
    assert ">90.0%</td>" in beside._repr_html_()


def test_where_nothing_was_recorded_it_is_said(tmp_path):
    none = comparison(tmp_path / "defenses.json")
    assert str(none) == NOT_YET
    assert NOT_YET in none._repr_html_()
    assert NOT_YET in str(Beside(none))
    assert NOT_YET in [text.get_text() for text in draw(none, "no")[1].texts]


def test_every_defense_has_a_row_and_a_point_at_its_clean_accuracy(some):
    dear = entry("dp-sgd", clean_accuracy_value=0.5)
    rows, points = draw(Comparison([*some.entries, dear]), "no")
    names = [label.get_text() for label in rows.get_yticklabels()]
    assert names == ["none 1", "jpeg 2", "loss 3", "dp-sgd 4"]
    assert [x for line in points.lines for x in line.get_xdata()] == [0.71, 0.71, 0.71, 0.5]
    assert sorted(t.get_text() for t in points.texts if t.get_text()) == ["1, 2, 3", "4"]


@pytest.mark.parametrize("fine_tune", ["last", "no"])
def test_every_point_has_its_number(fine_tune):
    _, points = draw(comparison(), fine_tune)
    told = {n for t in points.texts if t.get_text() for n in t.get_text().split(", ")}
    defenses = len(comparison().of("metapoison", fine_tune))
    assert told == {str(n) for n in range(1, 1 + defenses)}
    assert free(points)


def test_what_ships_is_read():
    if RECORDED.exists():
        found = comparison()
        assert found.entries
        assert found._repr_html_()
    for rows in json.loads(PUBLISHED.read_text("utf-8")).values():
        for row in rows:
            assert row["fine_tune"] in FINE_TUNE
            assert 0 <= row["success"] <= 1


def test_names_of_published_defenses_are_ours_or_are_not_in_the_kit():
    there = {r["defense"] for rows in Beside(Comparison([])).published.values() for r in rows}
    assert there - set(DEFENSES) <= {"diffusion", "energy model", "friendly-noise", "epic-training"}


def test_a_line_a_method_goes_through_its_rates_in_time():
    table = TABLES["equal time"]
    axes = draw_times(table)
    lines = [line for line, *_ in axes.containers]
    assert axes.get_legend_handles_labels()[1] == ["MetaPoison", "gradient matching"]
    for line, start in zip(lines, ("MetaPoison", "gradient matching"), strict=True):
        wanted = [r.rate.rate for r in table.results if r.label.startswith(start)]
        assert list(line.get_ydata()) == wanted
        assert line.get_xdata() == pytest.approx([5, 10, 20, 40], rel=0.05)
    assert [t.get_text() for t in axes.get_xticklabels()] == ["5", "10", "20", "40"]
