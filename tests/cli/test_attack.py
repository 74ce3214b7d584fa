"""``mpkit attack``: a run, its folder, and what it says."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mpkit
from mpkit.metapoison import poisons_of
from mpkit.runs import folder as run_folders
from mpkit.runs import record
from mpkit.runs.attack import make_attack
from mpkit.runs.prepared import load_scenario, prepare
from mpkit.runs.saved import from_dict
from tests.cli.conftest import (
    DIVERGING,
    FILES,
    PAIR,
    TINY,
    call,
    flags,
    numbers,
    refused,
    results,
    strict,
)

# ── a run and its folder ────────────────────────────────────────────────────────────────────────


def test_the_folder_of_a_run(unbroken):
    assert {p.name for p in unbroken.iterdir()} == FILES
    attack = from_dict(json.loads((unbroken / "settings.json").read_text())["attack"])
    wanted = TINY | PAIR | {"target-index": (0,)}
    assert attack == make_attack(**{name.replace("-", "_"): v for name, v in wanted.items()})
    s = load_scenario(attack)
    poisons, rows = record.load_poisons(unbroken)
    assert torch.equal(rows, s.bases)
    change = (poisons.int() - (255 * s.base_images).round().int()).abs()
    assert 0 < change.max() <= 255 * attack.settings.epsilon
    assert len(poisons) == 6
    names = {f"{row:05d}.png": picture for row, picture in zip(rows.tolist(), poisons, strict=True)}
    assert {p.name for p in (unbroken / "poisons").iterdir()} == set(names)
    for name, picture in names.items():
        with Image.open(unbroken / "poisons" / name) as png:
            assert (np.asarray(png) == picture[0].numpy()).all()
    with Image.open(unbroken / "summary.png") as png:
        png.verify()
        assert png.width >= 600


def test_the_settings_of_a_run(unbroken):
    settings = json.loads((unbroken / "settings.json").read_text())
    assert list(settings) == [
        "format", "attack", "targets", "plan", "victim_plan", "device", "data",
        "weights", "versions", "check",
    ]  # fmt: skip
    assert settings["format"] == 2
    assert settings["versions"]["mpkit"] == mpkit.__version__
    assert settings["versions"]["torch"] == torch.__version__
    assert {"chunk", "workers"} == set(settings["plan"]) == set(settings["victim_plan"])
    assert "cores" in settings["device"]


def test_the_records_of_a_run_are_what_craft_gave(unbroken):
    saved = json.loads((unbroken / "settings.json").read_text())
    ready = prepare(from_dict(saved["attack"]))
    assert dataclasses.asdict(ready.plan) == saved["plan"]
    steps = list(ready.craft())
    again = [dataclasses.replace(r, seconds=0) for _, r in steps]
    assert [dataclasses.replace(r, seconds=0) for r in record.replay(unbroken)] == again
    assert [r.step for r in again] == [1, 2, 3]
    assert all(r.seconds > 0 for r in record.replay(unbroken))
    poisons = poisons_of(ready.scenario, steps[-1][0], ready.attack.settings)
    assert torch.equal(record.load_poisons(unbroken)[0], poisons)
    *_, (_, victims) = ready.judge(poisons)
    rows = record.read_lines(unbroken / "victims.jsonl")
    assert rows == json.loads(json.dumps([dataclasses.asdict(v) for v in victims]))


def test_the_summary_of_a_run(unbroken):
    summary = json.loads(
        (unbroken / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert set(summary) == {
        "arms",
        "adversarial_loss",
        "poisons",
        "perturbation",
        "why",
        "epsilon",
        "seconds",
    }
    assert set(summary["seconds"]) == {"crafting", "victims", "total"}
    assert summary["seconds"]["total"] >= summary["seconds"]["crafting"] >= 0
    assert summary["poisons"] == 6
    assert summary["adversarial_loss"] == [r.loss for r in record.replay(unbroken)]
    victims = record.read_lines(unbroken / "victims.jsonl")
    assert list(summary["arms"]) == ["poisoned", "clean", "noise"] == [v["arm"] for v in victims]
    for victim in victims:
        arm = summary["arms"][victim["arm"]]
        same = {"accuracy", "poison_accuracy", "target_accuracy", "class_accuracy", "probabilities"}
        means = {"held", "adversarial_probability", "true_probability"}
        assert set(arm) == {"success", "diverged", "statistics"} | same | means
        assert {k: arm[k] for k in same} == {k: victim[k] for k in same}
        assert {k: [arm[k]] for k in means} == {k: victim[k] for k in means}
        assert arm["diverged"] == 0
        assert set(arm["success"]) == {"successes", "n", "low", "high"}
        assert (arm["success"]["successes"], arm["success"]["n"]) == (sum(victim["success"]), 1)
        assert 0 <= arm["success"]["low"] <= arm["success"]["high"] <= 1


def test_a_run_says_what_it_does_on_stderr_and_what_came_out_on_stdout(tmp_path):
    said = call("attack", *flags(out="läuf e/1 猫", target_index="0,2", victims=2))
    assert said.code == 0
    head, *lines = results(said)
    assert head == "Victims that call the 3 8, and their accuracy on other pictures:"
    for line, more, name in zip(
        lines[::2], lines[1::2], ("poisoned", "no poison", "random noise"), strict=True
    ):
        assert re.fullmatch(
            rf"  {name} +\d/4 = \d+% \(95 % interval \d+% to \d+%\)   accuracy \d+\.\d%", line
        )
        assert re.fullmatch(
            r" {15}held \d\.\d of the last 2 epochs; accuracy of the poison class \d+\.\d%, of the "
            r"target's \d+\.\d%; mean probability of 8: \d\.\d\d, 3: \d\.\d\d",
            more,
        )
    assert "60 images of digits, 6 of them poisoned" in said.err
    assert "of class 3, that shall be called 8" in said.err
    assert re.search(r"^First step after \d+\.\d s$", said.err, re.MULTILINE)
    assert re.search(r"crafting step 1 of 3, .*\d\d:\d\d left$", said.err, re.MULTILINE)
    assert re.search(r"^victims epoch 2 of 2$", said.err, re.MULTILINE)
    assert said.err.endswith("\nEverything is in läuf e/1 猫\n")
    assert {p.name for p in Path("läuf e/1 猫").iterdir()} == FILES


def test_a_quiet_run_says_nothing_but_its_result():
    said = call("attack", *flags(out="run"), "--quiet")
    assert (said.code, said.err) == (0, "")
    assert len(results(said)) == 7


def test_the_summary_for_machines(unbroken):
    said = call("attack", *flags(out="run", json="-"))
    assert json.loads(said.out) == json.loads(Path("run/summary.json").read_text())
    Path("old.json").write_text("old, and much longer than what will take its place" * 100)
    assert call("attack", *flags(out="run2", json="old.json")).code == 0
    assert Path("old.json").read_text() == Path("run2/summary.json").read_text()
    assert numbers(Path("run")) == numbers(Path("run2")) == numbers(unbroken)


def test_a_failure_says_why_and_a_success_does_not():
    said = call("attack", *flags(out="failed", epsilon="1/255"), "--quiet")
    why = record.read_json(Path("failed/summary.json"))["why"]
    assert why.startswith("Why it failed: ")
    assert said.out.splitlines()[-1] == why
    wishes = {"goal": "self-concealment", "poison_class": None, "noise": 8}  # all is read wrongly
    said = call("attack", *flags(out="won", **wishes), "--quiet")
    summary = record.read_json(Path("won/summary.json"))
    assert summary["arms"]["poisoned"]["success"]["successes"] == 1
    assert summary["why"] == ""
    assert "Why" not in said.out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_the_summary_may_go_to_a_device_or_a_pipe():
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert call("attack", *flags(out="run", json="pipe")).code == 0
        assert os.read(reader, 1 << 16) == Path("run/summary.json").read_bytes()
        assert Path("pipe").is_fifo()  # it was written to, and not replaced
    finally:
        os.close(reader)


def test_a_folder_that_holds_something_else_will_do(unbroken):
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    Path("run/settings.json.part").write_text('{"format"')  # what a kill leaves
    assert call("attack", *flags(out="run"), "--quiet").code == 0
    assert Path("run/notes.txt").read_text() == "mine"
    assert numbers(Path("run")) == numbers(unbroken)


def test_two_runs_of_one_second_have_a_folder_each(unbroken, monkeypatch):
    monkeypatch.setattr(run_folders.time, "strftime", lambda _: "20260102-030405")
    for _ in range(2):
        said = call("attack", *flags())
        assert said.code == 0
    first, second = sorted(Path("runs").iterdir())
    assert (first.name, second.name) == (name := "20260102-030405-digits-3-as-8-seed0", f"{name}-2")
    assert numbers(first) == numbers(second) == numbers(unbroken)
    assert said.err.endswith(f"\nEverything is in {second}\n")


def test_self_concealment_from_the_command_line():
    how = {"goal": "self-concealment", "target_class": "4", "poison_class": None}
    said = call("attack", *flags(out="run", **how))
    assert said.code == 0
    assert "of class 4, that shall be called anything else" in said.err
    assert "Victims that call the 4 another class" in said.out
    s = load_scenario(from_dict(json.loads(Path("run/settings.json").read_text())["attack"]))
    assert s.train.y[record.load_poisons(Path("run"))[1]].tolist() == [4] * 6
    (victim, *_) = record.read_lines(Path("run/victims.jsonl"))
    assert victim["success"] == [victim["predicted"] != [4]]


def test_multi_class_from_the_command_line():
    how = {"goal": "multi-class", "poison_class": None, "adversarial_class": "9", "budget": 0.5}
    said = call("attack", *flags(out="run", **how))
    assert said.code == 0
    assert "of class 3, that shall be called 9" in said.err
    s = load_scenario(from_dict(json.loads(Path("run/settings.json").read_text())["attack"]))
    labels = s.train.y[record.load_poisons(Path("run"))[1]]
    assert labels.bincount(minlength=10).tolist() == [3] * 10
    (victim, *_) = record.read_lines(Path("run/victims.jsonl"))
    assert victim["success"] == [victim["predicted"] == [9]]


def test_pictures_of_ones_own():
    draw = np.random.default_rng(0)
    for split, n in (("train", 8), ("test", 3)):
        for name in ("Kätzchen 猫", "a b", "c"):
            folder = Path("meine bilder 图", split, name)
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = draw.integers(0, 256, (10, 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    how = flags(
        data="meine bilder 图", n_train=24, n_test=9, size=None, network="mlp", perturbation="both",
        epsilon="8/255", target_class="a b", poison_class="Kätzchen 猫", out="ein lauf",
    )  # fmt: skip
    said = call("attack", *how)
    assert said.code == 0
    assert "24 images of meine bilder 图, 2 of them poisoned" in said.err
    assert "Victims that call the a b Kätzchen 猫" in said.out
    poisons, rows = record.load_poisons(Path("ein lauf"))
    assert poisons.shape == (2, 3, 10, 10)
    for i, row in enumerate(rows.tolist()):
        with Image.open(f"ein lauf/poisons/{row:05d}.png") as png:
            assert (np.asarray(png).transpose(2, 0, 1) == poisons[i].numpy()).all()
    before = numbers(Path("ein lauf"))
    assert call("attack", "--resume", "ein lauf").code == 0
    assert numbers(Path("ein lauf")) == before
    # A picture to test on is another one: the run's target or accuracies would be others too.
    draw = Path("meine bilder 图/test/a b/1.png")
    Image.fromarray(np.zeros((10, 10, 3), np.uint8)).save(draw)
    assert "the data are not those of the run" in refused("attack", "--resume", "ein lauf")


@pytest.mark.parametrize("scale", ["ci", "laptop", "gpu"])
def test_a_small_source_is_enough_for_every_scale(scale, few):
    s = load_scenario(make_attack(scale, data="few"))
    assert s.train.y.bincount().tolist() == [8, 8, 8]
    assert len(s.validation) + len(s.targets) == 9


def test_a_small_source_needs_no_flags(few):
    said = call("attack", "--scale", "ci", "--network", "mlp", "--data", "few", "--out", "run")
    assert said.code == 0
    assert "24 images of few, 2 of them poisoned" in said.err
    before = numbers(Path("run"))
    assert call("attack", "--resume", "run").code == 0
    assert numbers(Path("run")) == before


# ── victims that diverged, and both statistics ──────────────────────────────────────────────────


def test_victims_that_diverged_are_named_and_no_successes():
    said = call("attack", *flags(out="run", victims=2, **DIVERGING), "--quiet")
    _, *lines = results(said)
    assert len(lines) == 3
    for line in lines:
        assert line.endswith("0/2 = 0% (95 % interval 0% to 66%), 2 diverged   accuracy –")
    assert [row["diverged"] for row in strict(Path("run/victims.jsonl"))] == [True] * 6
    strict(Path("run/records.jsonl"))
    text = Path("run/summary.json").read_text()
    arms = json.loads(text, parse_constant=lambda name: pytest.fail(name))["arms"]
    assert {arm: (v["diverged"], v["accuracy"]) for arm, v in arms.items()} == dict.fromkeys(
        ("poisoned", "clean", "noise"), (2, None)
    )


@pytest.mark.parametrize(("own", "other"), [("running", "batch"), ("batch", "running")])
def test_batch_norm_is_told_by_both_statistics(own, other):
    given = {"network": "convnet-bn", "batch_norm": own, "victims": 2}
    said = call("attack", *flags(out="run", **given), "--quiet")
    names = {"running": "running statistics", "batch": "the statistics of the batch"}
    words = f"That was with batch norm by {names[own]}; the same victims by {names[other]}:"
    lines = results(said)[7:]
    assert lines[0] == words
    arms = record.read_json(Path("run/summary.json"))["arms"]
    for line, arm in zip(lines[1:], arms.values(), strict=True):
        found = arm["other_statistics"]
        assert (arm["statistics"], found["statistics"]) == (own, other)
        assert f" {found['success']['successes']}/2 = " in line
        assert line.endswith(f"accuracy {found['accuracy']:.1%}")
