"""``mpkit scenarios``: what there is, what each needs, and where its settings are from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpkit.cli import scenarios as command
from mpkit.cli.scenarios import told
from mpkit.runs.scenarios import names
from tests.cli.conftest import call, refused


def test_all_are_listed_with_what_they_need():
    said = call("scenarios", "--no-trial", "--json", "list.json")
    assert said.code == 0
    head, *lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == list(names())
    assert head.split()[:3] == ["scenario", "images", "poisons"]
    quick, deck = (next(li for li in lines if li.startswith(n)) for n in ("quickstart", "deck-dog"))
    assert quick.split()[1:7] == ["5,000", "50", "convnet-bn", "24", "2", "61"]
    assert deck.split()[1:9] == ["50,000", "5,000", "convnet-bn", "24", "2", "60", "8", "resnet18"]
    assert quick.endswith("–")
    assert "Memory and operations are counted" in said.err
    rows = json.loads(Path("list.json").read_text())
    assert [row["name"] for row in rows] == list(names())
    assert rows[0]["seconds"] is None
    assert rows[0]["operations"] == pytest.approx(1.1e15, rel=0.05)
    assert call("scenarios", "--no-trial", "--json", "-").out == Path("list.json").read_text()


def test_one_is_told_with_its_sources_and_what_is_said_beside_it(monkeypatch):
    monkeypatch.setattr(command, "tried", lambda *_: dict.fromkeys(
        ("meta-gradient", "surrogate step", "victim step"), 0.01))  # fmt: skip
    said = call("scenarios", "quickstart", "--max-train", "500", "--victims", "2")
    assert said.code == 0
    assert "quickstart: The quick start of the official code" in said.out
    assert "epsilon 8/255" in said.out
    assert "victims 2, max_train 500 (said here)" in said.out
    assert "(paper: eight victims" in said.out
    line = said.out.splitlines()[-1]
    assert line.split()[:3] == ["quickstart", "500", "5"]
    assert line.split()[-1] in ("min", "h", "s")
    assert "The time is an estimate" in said.err


def test_unknown_names_and_contradictions_are_refused():
    assert "'cat' is unknown; there are: all, quickstart" in refused("scenarios", "cat")
    assert "is not known, only that of" in refused("scenarios", "--method", "bullseye")
    assert "--json" in refused("scenarios", "--json", "nowhere/list.json")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (3.14, "3.1 s"), (119, "120 s"), (120, "2 min"), (7199, "120 min"),
     (9000, "2.5 h"), (10 * 86_400, "10 days")],
)  # fmt: skip
def test_times_in_words(seconds, words):
    assert told(seconds) == words
