"""Hints behind a button."""

from __future__ import annotations

import pytest

from mpkit.course.hints import Hints

WORDS = ("faint", "plainer <b>", "plain")


def told(hints: Hints) -> list[bool]:
    return [w in hints.words.value for w in ("faint", "plainer &lt;b&gt;", "</b> plain<")]


def test_hints_come_one_after_another():
    hints = Hints("09.x", WORDS)
    assert told(hints) == [False, False, False]
    for n in range(3):
        assert hints.button.description == f"Show hint {n + 1} of 3"
        hints.button.click()
        assert told(hints) == [i <= n for i in range(3)]
    assert hints.button.disabled
    assert hints.button.description == "No more hints"
    hints.show()
    assert hints.shown == 3


def test_who_asks_for_a_later_hint_has_seen_those_before():
    hints = Hints("09.x", WORDS, 2)
    assert told(hints) == [True, False, False]
    assert hints.button.description == "Show hint 2 of 3"


@pytest.mark.parametrize("number", [0, 4, -1])
def test_there_is_no_other_hint(number):
    with pytest.raises(ValueError, match=f"09.x has hints 1 to 3, not {number}"):
        Hints("09.x", WORDS, number)


def test_without_a_browser_a_hint_is_folded_text():
    shown = Hints("09.x", WORDS, 2)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert shown["text/html"].startswith("<details><summary>Hint 2 of 3</summary>")
    assert "plainer &lt;b&gt;" in shown["text/html"]
    assert shown["text/plain"] == "Hint 2 of 3:\nplainer <b>"
