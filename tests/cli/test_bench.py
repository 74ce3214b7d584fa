"""``mpkit bench``: rates beside ceilings, as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpkit.cli import bench
from mpkit.cli.bench import table
from mpkit.runs.ceilings import CONVOLUTION, COPY, PRODUCT, Rate
from tests.cli.conftest import call, flags, refused

CEILINGS = [Rate(PRODUCT, 1, 100e9, None), Rate(CONVOLUTION, 1, 80e9, None)]
CEILINGS.append(Rate(COPY, 1, None, 10e9))
TINY = flags(scale=None, target_index=None, target_class=None, poison_class=None)


@pytest.fixture
def quick(monkeypatch):
    """Ceilings that are known."""
    monkeypatch.setattr(bench, "ceilings", lambda *_: [*CEILINGS])


def test_every_piece_is_measured_in_every_type_of_numbers(quick):
    said = call("bench", *TINY, "--seconds", "0", "--dtypes", "float32,float64", "--json", "b.json")
    assert said.code == 0, said
    for name in ("meta-gradient, mlp", "surrogate step, mlp", "victim step, mlp"):
        assert said.out.count(name) == 2
    told = json.loads(Path("b.json").read_text())
    assert list(told["rates"]) == ["float32", "float64"]
    assert len(told["rates"]["float64"]) == 6
    assert all(row["operations"] > 0 for row in told["rates"]["float32"][3:])


def test_the_quick_start_is_measured_where_nothing_is_said(quick, monkeypatch):
    seen = []
    monkeypatch.setattr(bench, "achieved", lambda what, *_, **__: seen.append(what) or CEILINGS[0])
    assert call("bench", "--seconds", "0").code == 0
    assert seen == [f"{p}, convnet-bn" for p in ("meta-gradient", "surrogate step", "victim step")]
    assert call("bench", "--scenario", "deck-dog-bird").code == 0
    assert seen[-1] == "victim step, resnet18"


def test_the_shares_are_of_the_faster_ceiling():
    head, *lines = table("float32", [*CEILINGS, Rate("meta-gradient, mlp", 0.25, 40e9, 2.5e9)])
    assert head.split() == ["float32", "ms", "GFLOP/s", "of", "best", "GB/s", "of", "copy"]
    assert lines[3].split() == ["meta-gradient,", "mlp", "250.00", "40", "40%", "2.5", "25%"]
    assert lines[1].split() == ["convolution", "1000.00", "80", "80%"]
    assert lines[2].split() == ["copy", "1000.00", "10", "100%"]


def test_what_does_not_do_is_said(quick, monkeypatch):
    def unable(*_, **__):
        raise RuntimeError('"conv" not implemented for Half\nmore')

    monkeypatch.setattr(bench, "achieved", unable)
    said = refused("bench", *TINY, "--dtypes", "float16")
    assert 'float16 does not do here ("conv" not implemented for Half): leave it out' in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--dtypes int8", "'int8' is unknown; there are: all, float32"),
        ("--seconds -1", "--seconds must lie between 0 and 600, not -1"),
        ("--scenario cat", "choose from"),
        ("--json nowhere/b.json", "can't be written"),
    ],
)
def test_bad_flags_get_one_clear_line(arguments, words):
    assert words in refused("bench", *arguments.split())
