"""Sweeps that cannot be run, and victims of a sweep that diverged."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpkit.cli import sweep
from mpkit.evaluation.margins import measure
from mpkit.evaluation.targets import Margins, whole_test_set
from mpkit.runs import grid
from mpkit.runs.attack import Attack
from tests.cli.conftest import DIVERGING, DRAWN, NO_PAIR, Stand, call, flags, lines, refused, strict

# ── sweep ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--pairs 0", "pairs must be at least 1, not 0"),
        ("--pairs 10000", "pairs must be at most"),
        ("--pairs many", "'many' is no whole number"),
        ("--epsilons 0.1,x", "'x' is no number"),
        ("--epsilons 0.1,0", "epsilon 0 leaves nothing"),
        ("--perturbation recolor --epsilons 0.1,0.2", "--epsilons does nothing with --perturb"),
        ("--method gradient-matching --unrolls 2,3", "--unrolls does nothing with --method gradi"),
        ("--epsilons 0.1,0.003", "epsilon 0.003 leaves every 8-bit picture as it is"),
        ("--epsilons 0.1,2", "between 0 and 1, not 2.0"),
        ("--epsilons ''", "one value or more"),
        ("--unrolls 2,0", "unroll_steps must lie between 1 and 64, not 0"),
        ("--unrolls ''", "one value or more"),
        ("--epsilon 0.1 --epsilons 0.1", "--epsilon beside a list"),
        ("--unroll-steps 2 --unrolls 2", "--unroll-steps beside a list"),
        ("--goal self-concealment", "leave out --goal"),
        ("--target-class 3", "leave out --target-class"),
        ("--target-index 3", "leave out --target-index"),
        ("--poison-class 3", "leave out --poison-class"),
        ("--adversarial-class 3", "leave out --adversarial-class"),
        ("--budget 0.2", "has only 6 of the 60"),
        ("--out ''", "names nothing"),
        ("--out .", "can't be read"),
        ("--out nowhere/x.jsonl", "name another --out"),
        ("--out thesis.txt", "is no file of records"),
        ("--out letter.txt", "line 1 is no JSON object"),
        ("--out other.jsonl", "no results of a sweep"),
    ],
)
def test_bad_sweeps_get_one_clear_line_before_the_work(arguments, words, monkeypatch):
    mine = {"thesis.txt": "one line", "letter.txt": "two\nlines\n", "other.jsonl": '{"a": 1}\n'}
    for name, text in mine.items():
        Path(name).write_text(text)
    monkeypatch.setattr(sweep, "_measure", Stand(0))
    how = flags(epsilon=None, unroll_steps=None, **DRAWN)
    assert words in refused("sweep", *how, "--quiet", *shlex.split(arguments))
    assert {name: Path(name).read_text() for name in mine} == mine
    assert not Path("sweep.jsonl").exists() or not lines("sweep.jsonl")


def test_the_rarest_class_must_hold_the_poisons_of_a_sweep(monkeypatch):
    draw = np.random.default_rng(0)
    for split, name, n in [
        *(("train", name, n) for name, n in (("a", 12), ("b", 3), ("c", 12))),
        *(("test", name, 2) for name in "abc"),
    ]:
        Path("mine", split, name).mkdir(parents=True)
        for i in range(n):
            pixels = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path("mine", split, name, f"{i}.png"))
    monkeypatch.setattr(sweep, "_measure", Stand(0))
    how = flags(**DRAWN | {"noise": None}, data="mine", n_train=27, n_test=6, network="mlp")
    how += ["--budget", "0.2"]
    assert "class b has only 3 of the 27" in refused("sweep", *how, "--pairs", "3", "--quiet")


def test_a_sweep_refuses_attacks_that_diverge():
    line = refused("sweep", *flags(**DRAWN | {"lr": 1000}), "--pairs", "1", "--quiet")
    assert "lower --lr" in line
    assert lines("sweep.jsonl") == 0


# ── victims that diverged, and both statistics ──────────────────────────────────────────────────


def test_a_sweep_whose_clean_models_diverge_is_refused():
    given = {k: v for k, v in DIVERGING.items() if "class" not in k} | NO_PAIR
    line = refused("sweep", *flags(**given, target_index=None), "--pairs", "2", "--quiet")
    assert "the training of the clean models diverged" in line


def test_a_sweep_names_them_as_well(monkeypatch, forked):
    def sound(attack: Attack, scenario, *_) -> Margins:
        labels = whole_test_set(scenario).y
        return measure(torch.eye(10)[labels].expand(8, -1, -1), labels)

    monkeypatch.setattr(grid, "clean_margins", sound)
    given = {k: v for k, v in DIVERGING.items() if "class" not in k}
    given |= dict.fromkeys(("target_class", "poison_class", "target_index", "out"))
    said = call("sweep", *flags(victims=2, **given), "--pairs", "2", "--quiet")
    assert said.out.count("targets that fell 0/2") == 3
    assert len(re.findall(r"victims 0/4 = 0% .*, 4 diverged, accuracy –", said.out)) == 3
    assert len(strict(Path("sweep.jsonl"))) == 2
