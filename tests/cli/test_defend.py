"""``mpkit defend``: a run's poisons, judged again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpkit.cli import defend
from mpkit.runs import record
from tests.cli.conftest import call, numbers, refused


def test_without_a_defense_it_counts_what_the_run_did(unbroken, copy):
    before = numbers(copy)
    said = call("defend", copy, "--defense", "none,loss", "--suspected", "0.2", "--json", "a.json")
    assert said.code == 0
    none, loss = json.loads(Path("a.json").read_text("utf-8"))
    summary = record.read_json(unbroken / "summary.json")
    for arm in ("poisoned", "clean"):
        for name, value in none["arms"][arm].items():
            if name not in ("accuracy_interval", "adversarial_probability", "true_probability",
                            "probabilities", "held"):  # fmt: skip
                assert value == summary["arms"][arm][name]
    assert loss["defense"]["suspected"] == 0.2
    counts = loss["screening"]["poisoned"]
    assert counts["poisons"] == 6
    head, *lines = said.out.splitlines()
    assert head.split()[0] == "defense"
    assert [line.split()[0] for line in lines] == ["none", "loss"]
    assert f"{counts['caught']} of 6 poisons, {counts['lost']} of 54 others; without" in lines[1]
    assert "loss epoch 4 of 4" in said.err
    assert numbers(copy) == before


def test_more_victims_than_the_run_had(unbroken):
    said = call("defend", unbroken, "--defense", "jpeg", "--victims", "2", "--json", "-", "--quiet")
    (found,) = json.loads(said.out)
    assert found["arms"]["poisoned"]["success"]["n"] == 2


def test_a_defense_that_refuses_is_told_and_the_others_go_on(unbroken, monkeypatch):
    judged = defend.Prepared.judge

    def some(self, *given, **named):
        if self.attack.defense.defense == "jpeg":
            raise ValueError("no pictures to compress")
        return judged(self, *given, **named)

    monkeypatch.setattr(defend.Prepared, "judge", some)
    said = call("defend", unbroken, "--defense", "jpeg,none", "--quiet")
    assert said.code == 0
    assert "jpeg             no pictures to compress" in said.out.splitlines()
    assert call("defend", unbroken, "--defense", "jpeg", "--quiet").code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--defense", "prayer"), "--defense 'prayer' is unknown; there are: all, none"),
        (("--defense", ""), "--defense wants one name or more"),
        (("--defense", "none", "--suspected", "0.1"), "--suspected does nothing with --defense"),
        (("--jpeg-quality", "0"), "jpeg_quality must lie between 1 and 95, not 0"),
        (("--victims", "0"), "victims must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, words, unbroken):
    assert words in refused("defend", unbroken, *arguments, "--quiet")


def test_what_is_no_run_or_has_no_poisons_is_refused(copy):
    assert "is no run folder" in refused("defend", "nowhere")
    (copy / "poisons.safetensors").unlink()
    assert "no poisons can be read" in refused("defend", copy)
