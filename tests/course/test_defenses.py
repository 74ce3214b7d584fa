"""What was recorded of attacks against defenses, beside what others published."""

from __future__ import annotations

import json

import pytest

from mpkit.course.defenses import (
    NOT_YET,
    PUBLISHED,
    RECORDED,
    Beside,
    Comparison,
    comparison,
    draw,
    turned,
)
from mpkit.defenses.defense import DEFENSES
from mpkit.finetuning import FINE_TUNE


def entry(defense: str = "jpeg", **other) -> dict:
    found = {"fine_tune": "no", "budget": 0.1, "method": "gradient-matching", "defense": defense}
    found |= {"turned_successes": 3, "turned_n": 40, "turned_low": 0.02, "turned_high": 0.3}
    return found | {"turned_share": 0.075, "clean_accuracy_value": 0.71, "caught": None} | other


@pytest.fixture
def some():
    return Comparison([entry("none"), entry(), entry("loss", caught=0.5, lost=0.1)], "Here & now.")


def test_a_comparison_shows_its_defenses_in_rows_and_its_methods_in_columns(some):
    html = some._repr_html_()
    assert "<th scope='row'>jpeg</th><td>3/40 (2% to 30%)</td><td>71.0%</td><td></td>" in html
    assert "<td>50% of poisons, 10% of others</td>" in html
    assert "Here &amp; now." in html
    assert "from scratch, gradient-matching, jpeg: 3/40 (2% to 30%)" in str(some)
    assert [e["defense"] for e in some.of("gradient-matching", "no")] == ["none", "jpeg", "loss"]
    assert some.find("gradient-matching", "all", "jpeg") is None


def test_what_dp_sgd_spends_is_told_and_each_bound_has_its_table():
    spent = entry("dp-sgd", epsilon=8 / 255, privacy="ε_DP = 12.3 at δ = 1e-05")
    html = Comparison([spent, entry("dp-sgd", epsilon=16 / 255)])._repr_html_()
    assert "<td>ε_DP = 12.3 at δ = 1e-05</td>" in html
    assert [f"10% poisons, ε = {e}/255" in html for e in (8, 16, 20)] == [True, True, False]
    assert html.count("<table>") == 2


def test_published_figures_stand_beside_ours_where_both_are(some):
    beside = Beside(some)
    rows = [row for source in beside.published for row in beside.rows(source)]
    jpeg = ["gradient-matching", "jpeg", "0%", "90.0%", turned(entry()), "71.0%"]
    assert jpeg in rows
    assert ["gradient-matching", "diffusion", "0%", "90.9%", "–", ""] in rows
    assert "<td>90.0%</td>" in beside._repr_html_()


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
    assert [text.get_text() for text in points.texts] == ["1, 2, 3", "4"]


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
