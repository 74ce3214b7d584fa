"""Attacks that cannot be run are refused before anything is written."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from mpkit.cli import attack as attack_command
from mpkit.runs import folder as run_folders
from tests.cli.conftest import NO_PAIR, flags, refused

# ── what is refused ─────────────────────────────────────────────────────────────────────────────


# Flags of an attack → words of the one line; the first says which value, the second the way out.
BAD = [
    ("--epsilon 0", "epsilon 0", "usual 8/255"),
    ("--epsilon 1.5", "epsilon", "between 0 and 1, not 1.5"),
    ("--epsilon 300/255", "epsilon", "between 0 and 1"),
    ("--epsilon -0.1", "epsilon", "between 0 and 1, not -0.1"),
    ("--epsilon nan", "epsilon", "not nan"),
    ("--epsilon 0.003", "epsilon 0.003", "use 1/255 or more"),
    ("--epsilon 8/0", "'8/0'", "8/255"),
    ("--perturbation recolor --epsilon-c 0", "epsilon_c 0 leaves nothing", "allowed is"),
    ("--perturbation both --epsilon 0 --epsilon-c 0", "epsilon and epsilon_c 0", "allowed is"),
    ("--epsilon much", "'much'", "write 0.03 or 8/255"),
    ("--epsilon-c 2", "epsilon_c", "between 0 and 1, not 2.0"),
    ("--budget 0", "budget", "more than 0 and at most 1, not 0.0"),
    ("--budget 1.5", "budget", "more than 0 and at most 1, not 1.5"),
    ("--budget nan", "budget", "not nan"),
    ("--budget 0.5", "class 8 has only 6 of the 60", "at most 0.1"),
    ("--budget 0.001", "less than one poison", "at least 0.01667"),
    ("--unroll-steps 0", "unroll_steps", "between 1 and 64, not 0"),
    ("--unroll-steps 65", "unroll_steps", "not 65"),
    ("--unroll-steps 1.5", "'1.5'", "whole number"),
    ("--models 0", "models", "between 1 and"),
    ("--models -3", "models", "not -3"),
    ("--metagradient matching", "Gradient matching is a method", "say method gradient-matching"),
    ("--craft-steps 0", "craft_steps", "not 0"),
    ("--craft-rate 0", "craft_rate", "not 0.0"),
    ("--craft-rate inf", "craft_rate", "not inf"),
    ("--craft-warmup -1", "craft_warmup", "not -1"),
    ("--craft-decays 3,x", "'x'", "whole number"),
    ("--kappa -1", "kappa", "not -1.0"),
    ("--victims 0", "victims", "at least 1, not 0"),
    ("--lr 0", "lr", "more than 0 and finite, not 0.0"),
    ("--lr inf", "lr", "not inf"),
    ("--batch 0", "batch", "at least 1, not 0"),
    ("--epochs 0", "epochs", "at least 1, not 0"),
    ("--warmup -1", "warmup", "at least 0, not -1"),
    ("--victim-epochs 0", "epochs", "at least 1, not 0"),
    ("--victim-lr -1", "lr", "not -1.0"),
    ("--victim-momentum 1", "momentum", "at least 0 and less than 1"),
    ("--victim-weight-decay -1", "weight_decay", "at least 0 and finite"),
    ("--victim-weight-decay nan", "weight_decay", "at least 0 and finite"),
    ("--weight-decay 0.1", "--weight-decay", "--help"),
    ("--target-class x", "class 'x'", "there are: 0, 1, 2"),
    ("--poison-class x", "class 'x'", "there are: 0, 1, 2"),
    ("--adversarial-class x", "class 'x'", "there are: 0, 1, 2"),
    ("--target-class 3 --poison-class 3", "must differ from the target's class (3)", "conceal"),
    ("--target-class 3 --poison-class 8 --adversarial-class 3", "must differ", "conceal"),
    ("--target-index 9999", "target 9999", "0 … "),
    ("--target-index -1", "target -1", "0 … "),
    ("--target-index 0,0", "different numbers", "[0, 0]"),
    ("--target-index ''", "one or more", "[]"),
    ("--goal self-concealment --poison-class 8", "target's own class", "leave poison"),
    ("--goal self-concealment --adversarial-class 8", "own class", "leave poison class and adv"),
    ("--goal multi-class", "every class", "name the adversarial class"),
    ("--goal multi-class --adversarial-class 8 --poison-class 8", "every class", "no poison class"),
    ("--goal multi-class --adversarial-class 3 --target-class 3", "must differ", "(3)"),
    ("--goal world-peace", "'world-peace'", "self-concealment"),
    ("--classes 3", "['3']", "two classes or more"),
    ("--classes 3,3", "['3', '3']", "each once"),
    ("--classes 3,q", "'q'", "there are 0, 1, 2"),
    ("--size 4", "size", "between 8 and 128, not 4"),
    ("--size 1000000", "size", "between 8 and 128, not 1000000"),
    ("--noise -1", "noise", "at least 0 and finite, not -1.0"),
    ("--n-train 0", "n_train", "at least 1, not 0"),
    ("--n-train 1797", "n_train=1797", "lower"),
    ("--n-test 0", "n_test", "at least 1, not 0"),
    ("--data nowhere.zip", "'nowhere.zip'", "digits"),
    ("--data ''", "no data at ''", "digits"),
    ("--device vulkan", "'vulkan'", "auto, cpu"),
    ("--network perceptron", "'perceptron'", "resnet18"),
    ("--scale huge", "'huge'", "laptop"),
    ("--signed maybe", "'maybe'", "yes nor no"),
    ("--seed x", "'x'", "whole number"),
    ("--lr 1000", "diverged", "lower --lr"),
    ("--out ''", "--out", "names nothing"),
    ("--resume ''", "--resume", "names nothing"),
    ("--json nowhere/x.json", "'nowhere/x.json'", "folder that is there"),
    ("--json .", "'.'", "name a file"),
    ("--json ''", "''", "name a file"),
    ("--jsom x", "--jsom", "--help"),
    ("--epsil 0.1", "--epsil", "--help"),
    ("extra", "extra", "--help"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value", "way_out"), BAD, ids=[row[0] for row in BAD])
def test_bad_flags_get_one_clear_line(text, value, way_out):
    how = flags(**NO_PAIR if "--goal" in text else {})
    line = refused("attack", *how, "--quiet", *shlex.split(text))
    assert value in line
    assert way_out in line
    left = [str(p.relative_to(Path.cwd())) for p in Path.cwd().rglob("*") if p.is_file()]
    # A run that diverges has begun; all the others leave nothing behind.
    assert not left or "diverged" in line


def test_a_bad_scale_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "huge")
    assert "MPKIT_SCALE may be ci, laptop, gpu" in refused("attack", *flags(scale=None))


@pytest.mark.parametrize("out", ["file", "file/run", "loop"])
def test_a_folder_that_cannot_be_made_is_refused(out):
    Path("file").write_text("mine")
    Path("loop").symlink_to("loop")
    line = refused("attack", *flags(out=out), "--quiet")
    assert out in line
    assert "name another --out" in line
    assert Path("file").read_text() == "mine"


@pytest.mark.parametrize("json_file", ["nowhere/x.json", "file/x.json", ".", "folder"])
def test_a_summary_that_cannot_be_written_is_refused_before_the_run(json_file, monkeypatch):
    Path("file").touch()
    Path("folder").mkdir()
    monkeypatch.setattr(attack_command, "prepare", None)
    assert repr(json_file) in refused("attack", *flags(out="run", json=json_file), "--quiet")


def test_a_summary_that_may_not_be_written_is_refused_before_the_run(monkeypatch):
    Path("mine.json").write_text("mine")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(attack_command, "prepare", None)
    for name in ("mine.json", "new.json"):
        assert name in refused("attack", *flags(out="run", json=name), "--quiet")
    assert Path("mine.json").read_text() == "mine"


# ── a run and its folder ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("left", run_folders.LEFT)
def test_a_folder_that_holds_a_run_is_refused(copy, left):
    for path in copy.iterdir():
        if path.name not in (left, "poisons"):
            path.unlink()
    before = (copy / left).read_bytes()
    line = refused("attack", *flags(out=copy, seed=5), "--quiet")
    assert f"{copy} holds a run already" in line
    assert f"--resume {copy}" in line
    assert (copy / left).read_bytes() == before


@pytest.mark.parametrize(("flag", "allowed"), [("--n-train 25", "24"), ("--n-test 10", "9")])
def test_a_number_of_pictures_that_was_asked_for_is_a_demand(flag, allowed, few):
    line = refused("attack", "--scale", "ci", "--data", "few", "--quiet", *flag.split())
    name, number = flag[2:].replace("-", "_").split()
    assert f"{name}={number} must be from 3, one a class, to {allowed}" in line
