"""``mpkit attack --defense``: what is said and written down of victims that defend themselves."""

from __future__ import annotations

import json
from pathlib import Path

from mpkit.runs.folder import open_run
from tests.cli.conftest import call, flags, results


def test_what_a_filter_threw_away_is_said_and_written_down():
    said = call("attack", *flags(out="run", defense="loss", suspected=0.2))
    summary = json.loads(Path("run/summary.json").read_text("utf-8"))
    assert set(summary["screening"]) == set(summary["arms"])
    mine, clean = summary["screening"]["poisoned"], summary["screening"]["clean"]
    assert mine["poisons"] == summary["poisons"]
    assert (clean["poisons"], clean["innocents"]) == (0, 60)
    words = (
        f"Victims defended themselves by loss, suspected 0.2, looks_after 1.0: it threw "
        f"away {mine['caught']} of 6 poisons and {mine['lost']} of 54 other pictures; "
        f"without poisons, {clean['lost']}"
    )
    assert words in results(said)
    assert "victims epoch 6 of 6" in said.err  # three arms of two epochs
    assert open_run(Path("run")).attack.defense.suspected == 0.2


def test_another_defense_is_said_and_screens_nothing():
    said = call("attack", *flags(out="run", defense="jpeg"))
    assert "Victims defended themselves by jpeg, jpeg_quality 75" in results(said)
    assert "screening" not in json.loads(Path("run/summary.json").read_text("utf-8"))


def test_a_defended_run_goes_on_where_it_was():
    whole = call("attack", *flags(out="run", defense="jpeg"))
    for name in ("victims.jsonl", "summary.json"):
        Path("run", name).unlink()
    assert results(call("attack", "--resume", "run")) == results(whole)
