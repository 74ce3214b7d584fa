"""The command line from end to end: flags, run folders, kills and resumptions, bad input."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import pickle
import random
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mpkit
from mpkit import __main__ as command_line
from mpkit import finetuning
from mpkit.__main__ import build_parser, main
from mpkit.cli import attack as attack_command
from mpkit.cli import doctor, options, output, sweep
from mpkit.cli.options import attack_from, given
from mpkit.cli.thirds import short
from mpkit.data import DEFAULT_DATA, cifar10, fashion
from mpkit.margins import measure
from mpkit.metapoison import poisons_of
from mpkit.rates import clustered_rate
from mpkit.recipe import Recipe
from mpkit.runs import record
from mpkit.runs.attack import Attack, make_attack
from mpkit.runs.pairs import draw_pairs
from mpkit.runs.prepared import clean_margins, load_scenario, prepare
from mpkit.runs.saved import from_dict, to_dict
from mpkit.settings import Settings
from mpkit.targets import Margins, Target, whole_test_set

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "scale": "ci", "data": "digits", "size": 10, "n-train": 60, "n-test": 100, "models": 2,
    "craft-steps": 3, "epochs": 2, "batch": 20, "unroll-steps": 2, "victims": 1, "target-index": 0,
}  # fmt: skip
FILES = {
    "settings.json", "records.jsonl", "state.safetensors", "poisons.safetensors", "poisons",
    "victims.jsonl", "summary.json", "summary.png",
}  # fmt: skip


PAIR = {"target-class": "3", "poison-class": "8"}
NO_PAIR = {"target_class": None, "poison_class": None}
# A rule that picks targets wants models that have learnt something.
BY_RULE = {"target_index": None, "noise": 0, "epochs": 20, "lr": 0.2}
DRAWN = NO_PAIR | BY_RULE


def flags(**changes) -> list[str]:
    """The tiny attack as flags, with changes (underscores for dashes, None leaves one out)."""
    values = TINY | PAIR | {k.replace("_", "-"): v for k, v in changes.items()}
    return [t for k, v in values.items() if v is not None for t in (f"--{k}", str(v))]


@pytest.fixture(autouse=True, scope="module")
def control_c():
    """Ctrl-C interrupts, also where these tests run in the background of a shell (which has it
    ignored)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Plans are measured once, so that all runs are computed in the same way."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_surroundings(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", str(cache))
    monkeypatch.delenv("MPKIT_SCALE", raising=False)
    monkeypatch.chdir(tmp_path)


@dataclasses.dataclass
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str


def call(*arguments: str) -> Said:
    """A command in this process, its exit code whether returned or raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
    return Said(code, out.getvalue(), err.getvalue())


def refused(*arguments: str) -> str:
    """The one line that a refused command says."""
    said = call(*arguments)
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.startswith("mpkit")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    return said.err


def numbers(folder: Path) -> dict:
    """All that a run has computed: every byte of its files but for how long things took."""

    def timeless(name: str) -> list[dict]:
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    summary = json.loads((folder / "summary.json").read_text())
    del summary["seconds"]
    pictures = {p.name: p.read_bytes() for p in (folder / "poisons").iterdir()}
    tensors = [(folder / f"{n}.safetensors").read_bytes() for n in ("state", "poisons")]
    lines = timeless("records.jsonl"), timeless("victims.jsonl")
    return {"summary": summary, "pictures": pictures, "tensors": tensors, "lines": lines}


@pytest.fixture(scope="module")
def unbroken(cache, tmp_path_factory):
    """A whole tiny run. Copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPKIT_DATA", str(cache))
        assert call("attack", *flags(out=folder)).code == 0
    return folder


@pytest.fixture
def copy(unbroken, tmp_path):
    return shutil.copytree(unbroken, tmp_path / "copy")


# ── flags ───────────────────────────────────────────────────────────────────────────────────────

# A value for every setting, other than what it has by itself.
SAMPLES = {
    "data": "elsewhere", "n_train": 70, "n_test": 90, "max_train": 80, "max_test": 95,
    "classes": ("3", "8"), "size": 12, "noise": 0.25, "difficulty": 0.5, "target_class": "5",
    "target_index": (2, 0), "poison_class": "6", "adversarial_class": "7",
    "goal": "multi-class", "budget": 0.05, "network": "convnet",
    "batch_norm": "batch", "fine_tune": "last", "weights": "w.safetensors", "victims": 3,
    "victim_fine_tune": "all", "victim_network": "convnet-bn", "device": "cpu",
    "epsilon": 0.07, "epsilon_c": 0.02, "unroll_steps": 4, "craft_steps": 5, "models": 7,
    "craft_rate": 0.3, "craft_warmup": 2, "craft_decays": (3, 4), "loss": "cross-entropy",
    "kappa": 9.5, "metagradient": "reverse", "average": "last", "poisoned_steps": "all",
    "surrogate_data": "clean", "stagger": False, "compute": "plain", "perturbation": "both",
    "signed": True, "seed": 11,
    "epochs": 9, "batch": 17, "lr": 0.05, "warmup": 1, "decays": (4, 6), "weight_decay": 5e-4,
    "momentum": 0.9, "augment": True, "flip": True,
}  # fmt: skip


def names(kind: type) -> list[str]:
    return [f.name for f in dataclasses.fields(kind)]


def as_flag(name: str, value: object) -> list[str]:
    text = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else str(value)
    if isinstance(value, tuple):
        text = ",".join(map(str, value))
    return [f"--{name.replace('_', '-')}", text]


def from_flags(*arguments: str) -> Attack:
    return attack_from(build_parser().parse_args(["attack", "--scale", "ci", *arguments]))


def found(attack: Attack, name: str) -> object:
    """A setting by the name of its flag."""
    own = name.removeprefix("victim_")
    if own != name and own in names(Recipe):
        return getattr(attack.victim_recipe, own)
    holders = (attack, attack.settings, attack.settings.recipe)
    return next(getattr(h, name) for h in holders if name in names(type(h)))


def every_setting() -> list[str]:
    """Every field there is, under the name its flag must have."""
    surrogates = [n for n in names(Recipe) if Recipe(**{n: SAMPLES[n]}).plain]
    own = [n for n in (*names(Attack), *names(Settings)) if n not in ("settings", "recipe")]
    own.remove("victim_recipe")
    return [*own, *surrogates, *(f"victim_{n}" for n in names(Recipe))]


@pytest.mark.parametrize("name", every_setting())
def test_every_setting_has_a_flag(name):
    value = SAMPLES.get(name, SAMPLES.get(name.removeprefix("victim_")))
    scratch = [] if name == "data" else ["--data", "digits"]  # which is not fine-tuned by itself
    by_itself = from_flags(*scratch)
    assert found(by_itself, name) != value, "choose another sample"
    changed = from_flags(*scratch, *as_flag(name, value))
    assert found(changed, name) == value
    # And nothing else changes, but for victims, who follow the surrogates, and sizes of a scale.
    if name not in ("data", "fine_tune"):  # which bring sizes of their own
        others = {n for n in every_setting() if n not in (name, f"victim_{name}")}
        assert all(found(changed, n) == found(by_itself, n) for n in others)


def test_settings_without_a_flag_are_those_that_settings_refuse():
    refused = [n for n in names(Recipe) if n not in every_setting()]
    assert refused == ["weight_decay", "momentum", "augment", "flip"]
    assert not set(refused) & set(options.flags())
    for name in refused:
        with pytest.raises(ValueError, match="surrogates train by plain SGD"):
            Settings(recipe=Recipe(**{name: SAMPLES[name]}))


def test_every_flag_is_known_to_be_given():
    arguments = [t for n in every_setting() for t in as_flag(n, SAMPLES.get(n, SAMPLES.get(n[7:])))]
    parsed = build_parser().parse_args(["attack", "--scale", "ci", *arguments])
    assert set(given(parsed)) == {*every_setting(), "scale"}
    assert given(build_parser().parse_args(["attack"])) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.03", 0.03), ("8/255", 8 / 255), ("1e-2", 0.01), (" 8 / 255 ", 8 / 255), ("-1", -1)],
)
def test_numbers_may_be_fractions(text, value):
    assert options.number(text) == value


@pytest.mark.parametrize("text", ["", "x", "1/0", "1/", "/2", "1/2/3", "0x10"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no number"):
        options.number(text)


@pytest.mark.parametrize("text", ["", "x", "1.0", "1e3", "1/2"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no whole number"):
        options.whole(text)


def test_lists_have_commas():
    parse = options.several(options.whole)
    assert parse("20,40") == (20, 40)
    assert parse(" 20 , 40, ") == (20, 40)
    assert parse("") == ()
    assert options.several(str)("a b, 猫") == ("a b", "猫")
    with pytest.raises(argparse.ArgumentTypeError, match="'x' is no whole number"):
        parse("20,x")


def commands() -> dict[str, argparse.ArgumentParser]:
    (group,) = (a for a in build_parser()._actions if isinstance(a.choices, dict))
    return group.choices


@pytest.mark.parametrize("command", ["attack", "sweep", "targets", "fetch", "pretrain", "doctor"])
def test_help_explains_every_flag(command):
    said = call(command, "--help")
    assert (said.code, said.err) == (0, "")
    text = " ".join(said.out.split())
    for action in commands()[command]._actions:
        for name in action.option_strings:
            assert name in text
        if action.option_strings:
            assert len(action.help or "") >= 8, action.option_strings
            assert " ".join(action.help.split()) in text


def test_help_names_every_command():
    said = call("--help")
    assert set(commands()) == {"attack", "sweep", "targets", "fetch", "pretrain", "doctor"}
    for command in commands():
        assert re.search(rf"^ +{command} +\w+", said.out, re.MULTILINE)
    assert call("--version").out == f"mpkit {mpkit.__version__}\n"


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
    ("--budget 0", "budget", "above 0 and at most 1, not 0.0"),
    ("--budget 1.5", "budget", "above 0 and at most 1, not 1.5"),
    ("--budget nan", "budget", "not nan"),
    ("--budget 0.5", "class 8 has only 6 of the 60", "at most 0.1"),
    ("--budget 0.001", "less than one poison", "at least 0.01667"),
    ("--unroll-steps 0", "unroll_steps", "between 1 and 64, not 0"),
    ("--unroll-steps 65", "unroll_steps", "not 65"),
    ("--unroll-steps 1.5", "'1.5'", "whole number"),
    ("--models 0", "models", "between 1 and"),
    ("--models -3", "models", "not -3"),
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
    ("--size 4", "size=4", "from 8 to 128"),
    ("--size 1000000", "size=1000000", "from 8 to 128"),
    ("--noise -1", "noise=-1.0", "0 (clean) or more"),
    ("--n-train 0", "n_train=0", "1 or more"),
    ("--n-train 1797", "n_train=1797", "lower"),
    ("--n-test 0", "n_test=0", "1 or more"),
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


def test_memory_that_runs_out_gets_one_clear_line(monkeypatch):
    monkeypatch.setattr(attack_command, "prepare", lambda *_, **__: torch.empty(10**15))
    line = refused("attack", *flags(), "--quiet")
    assert "memory ran out" in line
    assert "smaller data" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "required: COMMAND"),
        ("atack", "invalid choice: 'atack'"),
        ("fetch", "required: dataset"),
        ("fetch mnist", "invalid choice: 'mnist'"),
        ("doctor --quickly", "unrecognized arguments: --quickly"),
        ("--loud", "required: COMMAND"),
        ("attack --json", "--json: expected one argument"),
    ],
)
def test_bad_commands_get_one_clear_line(arguments, words):
    line = refused(*arguments.split())
    assert words in line
    assert "--help" in line


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
        "weights", "versions",
    ]  # fmt: skip
    assert settings["format"] == 1
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
    assert set(summary) == {"arms", "adversarial_loss", "poisons", "epsilon", "seconds"}
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
    head, *lines = said.out.splitlines()
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
    assert len(said.out.splitlines()) == 7


def test_the_summary_for_machines(unbroken):
    said = call("attack", *flags(out="run", json="-"))
    assert json.loads(said.out) == json.loads(Path("run/summary.json").read_text())
    Path("old.json").write_text("old, and much longer than what will take its place" * 100)
    assert call("attack", *flags(out="run2", json="old.json")).code == 0
    assert Path("old.json").read_text() == Path("run2/summary.json").read_text()
    assert numbers(Path("run")) == numbers(Path("run2")) == numbers(unbroken)


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


@pytest.mark.parametrize("left", attack_command.LEFT)
def test_a_folder_that_holds_a_run_is_refused(copy, left):
    for path in copy.iterdir():
        if path.name not in (left, "poisons"):
            path.unlink()
    before = (copy / left).read_bytes()
    line = refused("attack", *flags(out=copy, seed=5), "--quiet")
    assert f"{copy} holds a run already" in line
    assert f"--resume {copy}" in line
    assert (copy / left).read_bytes() == before


def test_a_folder_that_holds_something_else_will_do(unbroken):
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    Path("run/settings.json.part").write_text('{"format"')  # what a kill leaves
    assert call("attack", *flags(out="run"), "--quiet").code == 0
    assert Path("run/notes.txt").read_text() == "mine"
    assert numbers(Path("run")) == numbers(unbroken)


def test_two_runs_of_one_second_have_a_folder_each(unbroken, monkeypatch):
    monkeypatch.setattr(attack_command.time, "strftime", lambda _: "20260102-030405")
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


@pytest.fixture
def few():
    """A source with fewer pictures than any scale takes: 3 classes, 8 to train on, 3 to test on."""
    draw = np.random.default_rng(0)
    for split, n in (("train", 8), ("test", 3)):
        for name in "abc":
            Path("few", split, name).mkdir(parents=True)
            for i in range(n):
                pixels = draw.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(f"few/{split}/{name}/{i}.png")


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


@pytest.mark.parametrize(("flag", "allowed"), [("--n-train 25", "24"), ("--n-test 10", "9")])
def test_a_number_of_pictures_that_was_asked_for_is_a_demand(flag, allowed, few):
    line = refused("attack", "--scale", "ci", "--data", "few", "--quiet", *flag.split())
    name, number = flag[2:].replace("-", "_").split()
    assert f"{name}={number} must be from 3, one a class, to {allowed}" in line


# ── stopped and resumed ─────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """What no code catches, as a kill is not caught."""


def killed_at(operation: int, monkeypatch, *arguments: str) -> bool:
    """Run a command until its n-th write begins or reaches the disk; whether it came to that."""
    count = 0
    places = [
        (record.os, "fsync", os.fsync),
        (record.os, "replace", os.replace),
        (record, "append", record.append),
    ]
    with monkeypatch.context() as patch:
        for place, name, real in places:

            def counted(*a, real=real):
                nonlocal count
                count += 1
                if count == operation:
                    raise Killed
                return real(*a)

            patch.setattr(place, name, counted)
        try:
            call(*arguments)
        except Killed:
            return True
    return False


def test_a_run_killed_at_any_write_goes_on_bit_for_bit(unbroken, monkeypatch):
    how, wanted, operation = flags(out="run"), numbers(unbroken), 0
    while killed_at(operation := operation + 1, monkeypatch, "attack", *how, "--quiet"):
        if Path("run/settings.json").exists():
            saved = record.load_state(Path("run"))
            recorded, step = len(record.replay(Path("run"))), saved.step if saved else 0
            assert recorded - step in (0, 1), "more than the step at hand is lost"
            assert call("attack", "--resume", "run", "--quiet").code == 0
        else:
            assert call("attack", *how, "--quiet").code == 0
        assert numbers(Path("run")) == wanted, f"killed at write {operation}"
        shutil.rmtree("run")
    # settings, 3 records, 3 states, poisons, victims, summary: two operations for each
    assert operation > 20


@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("left", ["record ahead", "half a record", "both", "parts"])
def test_what_a_kill_leaves_behind_is_put_right(unbroken, step, left, monkeypatch):
    """The folder after `step` steps, with what a kill in the next one can leave of it."""
    whole = (unbroken / "records.jsonl").read_bytes().splitlines(keepends=True)
    Path("run").mkdir()
    shutil.copy(unbroken / "settings.json", "run")
    if step:
        ready = prepare(from_dict(record.read_json(Path("run/settings.json"))["attack"]))
        steps = ready.craft()
        for _ in range(step):
            state, _ = next(steps)
        record.save_state(Path("run"), state)
    rest = {
        "record ahead": whole[step],
        "half a record": whole[step][: len(whole[step]) // 2],
        "both": whole[step] + whole[-1][:20],
        "parts": b"",
    }
    Path("run/records.jsonl").write_bytes(b"".join(whole[:step]) + rest[left])
    if left == "parts":
        for name in ("state.safetensors", "records.jsonl", "poisons.safetensors", "summary.json"):
            Path(f"run/{name}.part").write_bytes(b"\x00half")
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def child(arguments, folder, cache):
    """A command in a process of its own, its stderr in a file."""
    os.chdir(folder)
    os.environ["MPKIT_DATA"] = str(cache)
    torch.set_num_threads(1)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    code = main(arguments)
    sys.stdout.flush()
    sys.exit(code)


@pytest.fixture(scope="module")
def processes():
    """Processes that begin with torch loaded, where the system has them: real ones, and quick."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["pytest", "torch", "mpkit.__main__", "mpkit.runs.summary"])
    return context


def started(processes, cache, *arguments):
    process = processes.Process(target=child, args=([*map(str, arguments)], Path.cwd(), cache))
    process.start()
    return process


def wait_for(condition, process, seconds=60) -> bool:
    """Whether it came true before the process ended."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        if process.exitcode is not None:
            return condition()
        time.sleep(0.001)
    return True


def lines(path: str) -> int:
    return Path(path).read_bytes().count(b"\n") if Path(path).exists() else 0


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_a_run_killed_again_and_again_goes_on_bit_for_bit(processes, cache):
    how = {"craft_steps": 14, "models": 3}
    assert call("attack", *flags(out="whole", **how), "--quiet").code == 0
    draw, kills = random.Random(0), 0
    arguments = ["attack", *flags(out="run", **how), "--quiet"]
    while True:
        before = lines("run/records.jsonl")
        process = started(processes, cache, *arguments)
        wait_for(lambda n=before + 1 + kills: lines("run/records.jsonl") >= n, process)
        time.sleep(draw.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        if process.exitcode == 0:
            break
        kills += 1
        recorded, state = record.replay(Path("run")), record.load_state(Path("run"))
        assert len(recorded) - (state.step if state else 0) in (0, 1)
        arguments = ["attack", "--resume", "run", "--quiet"]
    assert kills >= 3
    assert numbers(Path("run")) == numbers(Path("whole"))


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_control_c_in_a_process_of_its_own(processes, cache):
    how = flags(out="mein lauf", craft_steps=500)
    process = started(processes, cache, "attack", *how)
    assert wait_for(lambda: lines("mein lauf/records.jsonl") >= 2, process)
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert process.exitcode == 130
    said = Path("stderr").read_text()
    assert "Traceback" not in said
    assert Path("stdout").read_text() == ""
    steps = len(record.replay(Path("mein lauf")))
    done = record.load_state(Path("mein lauf")).step
    assert steps - done in (0, 1)
    assert f"\nStopped after craft step {done}. Go on with: mpkit attack --resume " in said
    settings = record.read_json(Path("mein lauf/settings.json"))
    settings["attack"]["settings"]["craft_steps"] = steps + 1
    record.write_json(Path("mein lauf/settings.json"), settings)
    # The advice may be copied into a shell as it stands.
    _, *arguments = shlex.split(said.rpartition("Go on with: ")[2])
    assert call(*arguments).code == 0
    assert {p.name for p in Path("mein lauf").iterdir()} == FILES


def interrupting(after: int, phase: str):
    """`Progress.reach` that brings a Ctrl-C after so many steps of a phase."""
    real = output.Progress.reach

    def reach(self, done, note=""):
        real(self, done, note)
        if (self.name, done) == (phase, after):
            signal.raise_signal(signal.SIGINT)

    return reach


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize(
    ("phase", "after", "when"),
    [
        ("crafting", 1, "after craft step 1"),
        ("crafting", 3, "after craft step 3"),
        ("victims", 1, "after crafting, before all victims were trained"),
        ("victims", 2, "after crafting, before all victims were trained"),
    ],
)
def test_control_c_ends_cleanly_and_the_run_goes_on(
    phase, after, when, quiet, unbroken, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(output.Progress, "reach", interrupting(after, phase))
        said = call("attack", *flags(out="run"), *quiet)
    assert (said.code, said.out) == (130, "")
    assert said.err.endswith(f"\nStopped {when}. Go on with: mpkit attack --resume run\n")
    assert not Path("run/summary.json").exists()
    assert call("attack", "--resume", "run", *quiet).code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def test_control_c_before_anything_is_recorded(monkeypatch):
    monkeypatch.setattr(
        attack_command, "prepare", lambda *_, **__: signal.raise_signal(signal.SIGINT)
    )
    said = call("attack", *flags(out="run"))
    assert (said.code, said.out) == (130, "")
    assert said.err == "\nmpkit: stopped before anything was recorded\n"
    assert not Path("run").exists()


def interrupt(*_, **__):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (["settings.json"], "Stopped before the first craft step was done. Go on with: "),
        (["state.safetensors", "records.jsonl"], "Stopped after craft step 3. Go on with: "),
        (["poisons.safetensors"], "Stopped after crafting, before all victims were trained. Go on"),
        (["summary.json"], "Stopped. The run in {} is complete\n"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_control_c_while_a_run_is_loaded(left, words, copy, monkeypatch):
    """A run that was stopped when `left` was the last to be written."""
    order = ["settings.json", "state.safetensors", "records.jsonl", "poisons.safetensors"]
    order += ["victims.jsonl", "summary.png", "summary.json"]
    for name in order[order.index(left[-1]) + 1 :]:
        (copy / name).unlink()
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    monkeypatch.setattr(attack_command, "prepare", interrupt)
    said = call("attack", "--resume", copy)
    assert (said.code, said.out) == (130, "")
    assert said.err.startswith(f"\n{words.format(copy)}")
    assert said.err.count("\n") == 2
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before


def test_control_c_between_the_record_and_the_state_of_a_step(unbroken, monkeypatch):
    real = record.save_state

    def save_state(folder, state):
        if state.step == 2:
            interrupt()
        real(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr(record, "save_state", save_state)
        said = call("attack", *flags(out="run"), "--quiet")
    assert said.err == "\nStopped after craft step 1. Go on with: mpkit attack --resume run\n"
    assert len(record.replay(Path("run"))) == 2
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def test_control_c_elsewhere_claims_nothing(monkeypatch):
    monkeypatch.setattr(command_line, "fetch_cifar10", interrupt)
    assert call("fetch", "cifar10") == Said(130, "", "\nmpkit: stopped\n")


def test_a_full_disk_ends_cleanly_and_the_run_goes_on(unbroken, monkeypatch):
    real, states = record.save_state, []

    def save_state(folder, state):
        if len(states) == 1:
            raise OSError(28, "No space left on device", str(folder / "state.safetensors"))
        states.append(state)
        real(folder, state)

    with monkeypatch.context() as patch:
        patch.setattr(record, "save_state", save_state)
        line = refused("attack", *flags(out="run"), "--quiet")
    assert "No space left on device" in line
    assert "Go on with: mpkit attack --resume run" in line
    assert call("attack", "--resume", "run", "--quiet").code == 0
    assert numbers(Path("run")) == numbers(unbroken)


def test_a_run_that_is_complete_may_be_resumed(copy):
    before = numbers(copy)
    said = call("attack", "--resume", copy, "--json", "again.json")
    assert said.code == 0
    assert "crafting" not in said.err
    assert numbers(copy) == before
    assert json.loads(Path("again.json").read_text()) == record.read_json(copy / "summary.json")


def test_a_run_resumed_may_move_and_be_on_a_named_device(copy):
    before = numbers(copy)
    shutil.rmtree(copy / "poisons")
    moved = copy.rename(copy.with_name("moved 图"))
    assert call("attack", "--resume", moved, "--device", "cpu", "--quiet").code == 0
    assert numbers(moved) == before


@pytest.mark.parametrize(
    "flag", ["--epsilon 0.2", "--seed 0", "--craft-steps 9", "--scale ci", "--out elsewhere",
             "--victim-lr 0.1", "--stagger no", "--data digits"],
)  # fmt: skip
def test_flags_that_contradict_a_resumed_run_are_refused(flag, copy):
    line = refused("attack", "--resume", copy, *flag.split())
    assert f"leave out {flag.split()[0]}" in line


def test_a_device_that_is_not_here_is_refused_on_resuming(copy):
    assert "'cuda:99'" in refused("attack", "--resume", copy, "--device", "cuda:99")


# ── damage ──────────────────────────────────────────────────────────────────────────────────────


def edited(path: Path, change) -> bytes:
    settings = json.loads(path.read_text())
    change(settings)
    return json.dumps(settings).encode()


def cut(part: float):
    return lambda path: path.read_bytes()[: int(part * path.stat().st_size)]


def changed(*keys, value=None):
    """A settings.json with one value changed; without `value`, left out."""

    def change(settings):
        for key in keys[:-1]:
            settings = settings[key]
        if value is None:
            del settings[keys[-1]]
        else:
            settings[keys[-1]] = value

    return lambda path: edited(path, change)


def other_surrogates(path: Path) -> bytes:
    assert call("attack", *flags(out="other", models=3), "--quiet").code == 0
    return Path("other/state.safetensors").read_bytes()


def other_network(path: Path) -> bytes:
    assert call("attack", *flags(out="other", network="convnet"), "--quiet").code == 0
    return Path("other/state.safetensors").read_bytes()


def other_pictures(path: Path) -> bytes:
    assert call("attack", *flags(out="other", budget=0.05), "--quiet").code == 0
    return Path("other/state.safetensors").read_bytes()


DAMAGE = {
    "settings empty": ("settings.json", lambda _: b"", "settings.json is damaged"),
    "settings cut": ("settings.json", cut(0.5), "settings.json is damaged"),
    "settings no text": ("settings.json", lambda _: b"\xff\x00\x80", "settings.json is damaged"),
    "settings a list": ("settings.json", lambda _: b"[]", "settings.json is damaged"),
    "settings gone": ("settings.json", lambda _: None, "it has no settings.json"),
    "settings newer": ("settings.json", changed("format", value=2), "newer mpkit: update mpkit"),
    "attack a text": ("settings.json", changed("attack", value="x"), "settings.json is damaged"),
    "recipe a list": (
        "settings.json", changed("attack", "settings", "recipe", value=[]), "is damaged",
    ),
    "unknown setting": ("settings.json", changed("attack", "settings", "later", value=1), "later"),
    "unknown attack": ("settings.json", changed("attack", "later", value=1), "later"),
    "setting out of range": (
        "settings.json", changed("attack", "settings", "epsilon", value=7), "0 and 1, not 7",
    ),
    "setting no number": (
        "settings.json", changed("attack", "settings", "models", value="2"), "is damaged",
    ),
    "budget no number": (
        "settings.json", changed("attack", "budget", value="a"), "budget must be a number",
    ),
    "classes a number": (
        "settings.json", changed("attack", "classes", value=3), "classes must be a tuple",
    ),
    "plan out of range": ("settings.json", changed("plan", "chunk", value=0), "a plan"),
    "plan unknown": ("settings.json", changed("plan", "gpus", value=8), "gpus"),
    "other data": ("settings.json", changed("data", value="0" * 16), "data are not those"),
    "other size": ("settings.json", changed("attack", "size", value=9), "data are not those"),
    "other target": (
        "settings.json", changed("attack", "target_index", value=[1]), "data are not those",
    ),
    "other network": (
        "settings.json", changed("attack", "network", value="convnet"), "not of the run",
    ),
    "state empty": ("state.safetensors", lambda _: b"", "state.safetensors is damaged"),
    "state cut": ("state.safetensors", cut(0.9), "state.safetensors is damaged"),
    "state a pickle": ("state.safetensors", lambda _: pickle.dumps({}), "is damaged"),
    "state of other models": ("state.safetensors", other_surrogates, "not of the run"),
    "state of another network": ("state.safetensors", other_network, "not of the run"),
    "state of other poisons": ("state.safetensors", other_pictures, "not of the run"),
    "records gone": ("records.jsonl", lambda _: None, "records.jsonl is damaged"),
    "records cut": ("records.jsonl", cut(0.5), "records.jsonl is damaged"),
    "records no lines": (
        "records.jsonl", lambda path: b"x" + path.read_bytes(), "line 1 is no JSON object",
    ),
    "records of others": (
        "records.jsonl", lambda path: b'{"a": 1}\n' + path.read_bytes(), "records.jsonl is damaged",
    ),
}  # fmt: skip
DAMAGE |= {
    f"settings without {key}": ("settings.json", changed(key), f"damaged: KeyError('{key}')")
    for key in ("format", "attack", "plan", "victim_plan", "data")
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_gets_one_clear_line(kind, copy):
    name, damage, words = DAMAGE[kind]
    content = damage(copy / name)
    if content is None:
        (copy / name).unlink()
    else:
        assert content != (copy / name).read_bytes()
        (copy / name).write_bytes(content)
    assert words in refused("attack", "--resume", copy, "--quiet")


@pytest.mark.parametrize("folder", ["nowhere", ".", "file"])
def test_what_is_no_run_is_not_resumed(folder):
    Path("file").touch()
    assert "is no run folder" in refused("attack", "--resume", folder)


# ── sweep ───────────────────────────────────────────────────────────────────────────────────────


class Stand:
    """In the place of `_measure`: made-up arms, and a note of what was asked for."""

    def __init__(self, stop: int | None = None, error: type = Killed):
        self.asked, self.stop, self.error = [], stop, error

    def __call__(self, attack: Attack) -> dict:
        if len(self.asked) == self.stop:
            raise self.error
        self.asked.append(attack)
        return self.arms(attack)

    @staticmethod
    def arms(attack: Attack) -> dict:
        draw = random.Random(repr(attack))
        rate = lambda: {"successes": draw.randint(0, 4), "n": 4, "low": 0, "high": 1}  # noqa: E731
        names = ("poisoned", "clean", "noise")
        return {arm: {"success": rate(), "accuracy": draw.random()} for arm in names}


def drawable(true: str, wanted: str) -> list[Target]:
    """The targets that a sweep may draw, near first."""
    attack = from_flags(*flags(**DRAWN | {"target_index": 0}))
    scenario = load_scenario(attack)
    found = clean_margins(attack, scenario).targets(int(true), int(wanted))
    return [t for t in found if t.third]


def good(true: str, wanted: str) -> list[int]:
    return [t.index for t in drawable(true, wanted)]


GRID = ["--epsilons", "0.2,0.1,20/255", "--unrolls", "2,1", "--pairs", "4"]


def swept(monkeypatch, stand: Stand, *arguments: str) -> Said:
    monkeypatch.setattr(sweep, "_measure", stand)
    return call("sweep", *flags(epsilon=None, unroll_steps=None, **DRAWN), "--quiet", *arguments)


def test_every_cell_of_a_sweep_sees_the_same_pairs_and_each_pair_its_own_seeds(monkeypatch):
    stand = Stand()
    assert swept(monkeypatch, stand, *GRID, "--pairs-seed", "9").code == 0
    names = tuple("0123456789")
    pairs = draw_pairs(names, 4, 9, {pair: good(*pair) for pair in permutations(names, 2)})
    by_cell, seeds = {}, {}
    for a in stand.asked:
        pair = (a.target_class, a.poison_class, a.target_index[0])
        by_cell.setdefault((a.settings.epsilon, a.settings.unroll_steps), []).append(pair)
        seeds.setdefault(pair, set()).add(a.settings.seed)
        # Nothing else differs between two attacks of a sweep.
        same = {"epsilon": 0.1, "unroll_steps": 1, "seed": 0}
        settings = dataclasses.replace(a.settings, **same)
        assert settings == dataclasses.replace(stand.asked[0].settings, **same)
    assert set(by_cell) == {(e, k) for e in (0.2, 0.1, 20 / 255) for k in (2, 1)}
    assert all(found == pairs for found in by_cell.values())
    assert all(len(own) == 1 for own in seeds.values()), "one pair, one seed"
    assert len(set.union(*seeds.values())) == len(pairs), "and no pair another's"


def test_a_sweep_draws_targets_only_and_writes_their_thirds_down(monkeypatch):
    stand = Stand()
    assert swept(monkeypatch, stand, "--pairs", "40").code == 0
    for row in record.read_lines(Path("sweep.jsonl")):
        a, target = from_dict(row["attack"]), Target(**row["target"])
        assert (target.index,) == a.target_index
        assert target in drawable(a.target_class, a.poison_class)
        assert target.third in ("near", "middle", "far")
    assert len(stand.asked) == 40
    refusal = refused("sweep", *flags(**DRAWN), "--pairs", "9999", "--quiet")
    there = sum(len(good(*pair)) for pair in permutations("0123456789", 2))
    assert f"at most {there}, as many as there are" in refusal


def test_a_sweep_of_before_targets_had_margins_goes_on(monkeypatch):
    """It drew among the first of each class, and so does what is left of it."""
    old = draw_pairs(tuple("0123456789"), 12, 9, 7)  # the rarest class has 7 test pictures
    base = from_flags(*flags(epsilon=0.1, unroll_steps=2, **DRAWN))
    attacks = [sweep._with_pair(base, pair) for pair in old]
    rows = [{"attack": to_dict(a), "arms": Stand.arms(a)} for a in attacks]
    Path("sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]), "utf-8")
    stand, how = Stand(), ["--epsilons", "0.1", "--unrolls", "2", "--pairs", "12"]
    said = swept(monkeypatch, stand, *how, "--pairs-seed", "9")
    assert stand.asked == attacks[2:]
    assert "no target" in said.out  # margins are not what it drew by
    assert swept(monkeypatch, Stand(0), *how, "--pairs-seed", "9").out == said.out
    # Another draw is no part of it.
    stand = Stand()
    assert swept(monkeypatch, stand, *how, "--pairs-seed", "8").code == 0
    assert all(a.target_index[0] in good(a.target_class, a.poison_class) for a in stand.asked)


def test_the_thirds_stand_side_by_side(monkeypatch):
    stand = Stand()
    said = swept(monkeypatch, stand, "--pairs", "30").out.splitlines()
    mine = {third: [] for third in ("near", "middle", "far")}
    for a in stand.asked:
        (found,) = [
            t for t in drawable(a.target_class, a.poison_class) if t.index == a.target_index[0]
        ]
        mine[found.third].append(Stand.arms(a)["poisoned"]["success"]["successes"])
    head, targets, victims, _ = said[-4:]
    assert head.split() == ["by", "clean", "margin", "near", "middle", "far"]
    cells = re.findall(r"(\d+)/(\d+) = \d+% \(\d+ to \d+\)", targets)
    assert cells == [(str(sum(k > 2 for k in v)), str(len(v))) for v in mine.values()]
    cells = re.findall(r"(\d+)/(\d+) = ", victims)
    assert cells == [(str(sum(v)), str(4 * len(v))) for v in mine.values()]
    assert short(clustered_rate(mine["far"], [4] * len(mine["far"]))) in victims


def test_every_target_of_a_sweep_is_there(monkeypatch):
    stand, few = Stand(), ["--classes", "1,2", "--n-test", "30", "--pairs", "12"]
    assert swept(monkeypatch, stand, *few).code == 0
    for attack in stand.asked:
        load_scenario(attack)  # raises where the class has no such test image
    assert len({a.target_index for a in stand.asked}) > 1


def test_the_rates_of_a_sweep_are_pooled(monkeypatch):
    stand = Stand()
    said = swept(monkeypatch, stand, *GRID)
    table = said.out.splitlines()
    heads = [line for line in table if not line.startswith(" ")]
    cells = sorted({(a.settings.epsilon, a.settings.unroll_steps) for a in stand.asked})
    assert heads == [f"ε = {e:.4g} ({255 * e:.1f}/255), K = {k}:" for e, k in cells]
    assert len(table) == len(cells) * 14
    table = [line for i, line in enumerate(table) if i % 14 < 10]  # the thirds are below
    for i, cell in enumerate(cells):
        mine = [
            Stand.arms(a) for a in stand.asked
            if (a.settings.epsilon, a.settings.unroll_steps) == cell
        ]  # fmt: skip
        for j, arm in enumerate(("poisoned", "clean", "noise"), 1):
            targets, victims, more = table[10 * i + 3 * j - 2 : 10 * i + 3 * j + 1]
            counts = [arms[arm]["success"]["successes"] for arms in mine]
            fell, won = sum(k > 2 for k in counts), sum(counts)
            accuracy = sum(arms[arm]["accuracy"] for arms in mine) / 4
            assert targets.startswith(f"  {arm:<9} targets that fell {fell}/4 = {fell / 4:.0%} (95")
            assert victims.startswith(
                f"            victims {won}/16 = {won / 16:.0%} (95 % interval "
            )
            assert victims.endswith(f"), accuracy {accuracy:.1%}")
            # As by an earlier mpkit: what it did not write down is not made up.
            assert more.endswith("not recorded: whether it holds, accuracy by class, probabilities")


def test_a_value_given_twice_counts_once(monkeypatch):
    once, twice = Stand(), Stand()
    values = ["--epsilons", "0.1,0.2", "--unrolls", "3", "--out", "1.jsonl"]
    again = ["--epsilons", "0.1,0.2,0.1", "--unrolls", "3,3", "--out", "2.jsonl"]
    first = swept(monkeypatch, once, *values)
    assert swept(monkeypatch, twice, *again).out == first.out
    assert once.asked == twice.asked


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("stop", [0, 1, 7, 23])
def test_a_sweep_that_was_killed_goes_on_where_it_was(stop, half, monkeypatch):
    whole = Stand()
    wanted = swept(monkeypatch, whole, *GRID, "--out", "whole.jsonl").out
    first, second, third = Stand(stop), Stand(), Stand(0)
    with pytest.raises(Killed):
        swept(monkeypatch, first, *GRID)
    if half:
        with open("sweep.jsonl", "ab") as file:
            file.write(Path("whole.jsonl").read_bytes().splitlines()[stop][:40])
    assert swept(monkeypatch, second, *GRID).out == wanted
    assert first.asked + second.asked == whole.asked
    assert Path("sweep.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert swept(monkeypatch, third, *GRID).out == wanted  # nothing is left to do


def test_a_sweep_that_does_not_name_its_data_is_of_the_digits(monkeypatch):
    first, second, third = Stand(), Stand(0), Stand()
    wanted = swept(monkeypatch, first, "--pairs", "3").out
    rows = [json.loads(line) for line in Path("sweep.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        assert row["attack"].pop("data") == "digits"
    Path("sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert swept(monkeypatch, second, "--pairs", "3").out == wanted
    assert swept(monkeypatch, third, "--pairs", "3", "--data", "signs").code == 0
    assert [a.data for a in third.asked] == ["signs"] * 3


def test_a_run_that_does_not_name_its_data_is_of_the_digits(copy):
    saved = record.read_json(copy / "settings.json")
    assert saved["attack"].pop("data") == "digits"
    record.write_json(copy / "settings.json", saved)
    assert call("attack", "--resume", copy, "--quiet").code == 0


def test_a_sweep_of_before_a_setting_existed_goes_on(monkeypatch):
    first, second = Stand(), Stand(0)
    wanted = swept(monkeypatch, first, "--pairs", "3").out
    rows = [json.loads(line) for line in Path("sweep.jsonl").read_text("utf-8").splitlines()]
    for row in rows:
        del row["attack"]["settings"]["compute"], row["attack"]["difficulty"]
    Path("sweep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert swept(monkeypatch, second, "--pairs", "3").out == wanted


def test_a_sweep_may_grow(monkeypatch):
    first, second = Stand(), Stand()
    assert swept(monkeypatch, first, "--pairs", "2", "--epsilons", "0.1").code == 0
    assert swept(monkeypatch, second, "--pairs", "3", "--epsilons", "0.1,0.2").code == 0
    assert not set(first.asked) & set(second.asked)
    assert len(second.asked) == 3 * 2 - 2


def test_control_c_in_a_sweep(monkeypatch):
    said = swept(monkeypatch, Stand(2, KeyboardInterrupt), *GRID)
    assert (said.code, said.out) == (130, "")
    assert said.err == "\nStopped; sweep.jsonl keeps what is done. Give the same command again.\n"
    assert lines("sweep.jsonl") == 2


def test_control_c_while_a_sweep_is_loading(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "load_scenario", interrupt)
        said = swept(monkeypatch, Stand(), *GRID)
        assert (said.code, said.err) == (130, "\nStopped before any result was recorded.\n")
    assert swept(monkeypatch, Stand(), "--pairs", "1").code == 0
    monkeypatch.setattr(sweep, "load_scenario", interrupt)
    said = swept(monkeypatch, Stand(), *GRID)
    assert "sweep.jsonl keeps what is done" in said.err
    assert lines("sweep.jsonl") == 1


def test_a_sweep_measures_what_an_attack_does():
    how = flags(epsilon=0.1, unroll_steps=None, **DRAWN)
    said = call("sweep", *how, "--unrolls", "2", "--pairs", "1", "--pairs-seed", "4")
    assert said.code == 0
    assert re.search("^sweep attack 1 of 1$", said.err, re.MULTILINE)
    (row,) = record.read_lines(Path("sweep.jsonl"))
    a = from_dict(row["attack"])
    pair = {"target_class": a.target_class, "poison_class": a.poison_class}
    own = {"target_index": a.target_index[0], "seed": a.settings.seed}
    how = flags(epsilon=0.1, **pair, **BY_RULE | own, out="run")
    assert call("attack", *how, "--quiet").code == 0
    assert record.read_json(Path("run/summary.json"))["arms"] == row["arms"]
    assert row["attack"] == record.read_json(Path("run/settings.json"))["attack"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--pairs 0", "pairs must be at least 1, not 0"),
        ("--pairs 10000", "pairs must be at most"),
        ("--pairs many", "'many' is no whole number"),
        ("--epsilons 0.1,x", "'x' is no number"),
        ("--epsilons 0.1,0", "epsilon 0 leaves nothing"),
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
    how = flags(data="mine", n_train=27, n_test=6, network="mlp", budget=0.2, **DRAWN)
    assert "class b has only 3 of the 27" in refused("sweep", *how, "--pairs", "3", "--quiet")


def test_a_sweep_refuses_attacks_that_diverge():
    line = refused("sweep", *flags(**DRAWN | {"lr": 1000}), "--pairs", "1", "--quiet")
    assert "lower --lr" in line
    assert lines("sweep.jsonl") == 0


# ── pretrain ────────────────────────────────────────────────────────────────────────────────────


def test_weights_are_made_and_fine_tuned(tmp_path):
    file = tmp_path / "w.safetensors"
    made = ("pretrain", "--data", "fashion", "--pictures", "40", "--epochs", "1", "--out", file)
    said = call(*made)
    assert said.code == 0, said
    assert said.out.startswith(f"{file}: accuracy ")
    again = refused(*made)
    assert "is there already" in again
    run = tmp_path / "run"
    said = call("attack", *flags(data="fashion"), "--fine-tune", "last", "--weights", file,
                "--network", "convnet-small", "--out", run)  # fmt: skip
    assert said.code == 0, said
    kept = json.loads((run / "settings.json").read_text())["attack"]
    assert (kept["fine_tune"], kept["weights"]) == ("last", str(file))


def test_a_run_goes_on_with_the_weights_it_began_with_alone(tmp_path):
    file, run = tmp_path / "w.safetensors", tmp_path / "run"
    shipped = (finetuning.SHIPPED / f"{finetuning.DEFAULT_WEIGHTS}.safetensors").read_bytes()
    file.write_bytes(shipped)
    tuned = ("--fine-tune", "last", "--network", "convnet-small", "--weights", file)
    assert call("attack", *flags(data="fashion"), *tuned, "--out", run).code == 0
    assert call("attack", "--resume", run).code == 0
    file.unlink()
    made = ("--data", "fashion", "--pictures", "40", "--epochs", "1")
    assert call("pretrain", *made, "--out", file).code == 0
    assert "are not those that the run in" in refused("attack", "--resume", run)
    file.write_bytes(shipped)
    assert call("attack", "--resume", run).code == 0


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--pictures 5000", "from 10 to 600, not 5000"),
        ("--pictures 20 --epochs 0", "epochs"),
        ("--data x", "x"),
    ],
)
def test_pretraining_that_will_not_do_is_refused(flag, words, tmp_path):
    given = ["--data", "fashion", *flag.split(), "--out", tmp_path / "w.safetensors"]
    assert words in refused("pretrain", *given)
    assert not list(tmp_path.iterdir())
    assert "must end in .safetensors" in refused("pretrain", "--data", "fashion", "--out", "w.pt")


# ── fetch and doctor ────────────────────────────────────────────────────────────────────────────


def test_fetch_without_a_network_gets_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path))
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for command in (["fetch", "cifar10"], ["attack", *flags(data="cifar10"), "--quiet"]):
        said = call(*command)
        assert (said.code, said.out) == (2, "")
        *before, line = said.err.splitlines()
        assert all(text.startswith("Downloading data from") for text in before)
        assert line.startswith("mpkit: no network")
        assert "Try again later, or put the archive" in line
    assert not list(tmp_path.rglob("*.*"))


def test_fetch_says_where_the_data_are(monkeypatch, tmp_path):
    monkeypatch.setattr(command_line, "fetch_cifar10", lambda: tmp_path / "archive")
    said = call("fetch", "cifar10")
    assert (said.code, said.out) == (0, f"CIFAR-10 is in {tmp_path / 'archive'}\n")


def examined() -> tuple[int, list[str]]:
    said = call("doctor")
    assert said.err == ""
    return said.code, said.out.splitlines()


def line_with(words: str, findings: list[str]) -> str:
    (line,) = [line for line in findings if words in line]
    return line


def test_the_doctor_looks_at_everything(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: f"{len(name)}.0")
    code, findings = examined()
    assert code == 0
    assert findings[0] == f"✓ Python {sys.version.split()[0]}"
    assert findings[1] == f"✓ torch {torch.__version__}"
    for name in ("jupyterlab", "ipywidgets", "matplotlib"):
        assert line_with(name, findings) == f"✓ {name} {len(name)}.0"
    if not torch.cuda.is_available():
        assert "device: cpu" in line_with("device", findings)
        assert f"no GPU: the {DEFAULT_DATA} do" in line_with("device", findings)
    assert "GiB" in line_with("memory", findings)
    assert line_with("scale", findings).endswith(
        "scale: gpu" if torch.cuda.is_available() else "scale: laptop"
    )
    assert os.environ["MPKIT_DATA"] in line_with("data folder", findings)
    assert "no download" in line_with("digits:", findings)
    assert "no download" in line_with("signs:", findings)
    assert "no download" in line_with("fashion:", findings)
    assert "mpkit fetch cifar10" in line_with("CIFAR-10", findings)
    assert all(line[:2] in ("✓ ", "✗ ") for line in findings)


@pytest.mark.parametrize("name", ["jupyterlab", "ipywidgets", "matplotlib"])
def test_the_doctor_misses_what_notebooks_need(name, monkeypatch):
    def version(wanted):
        if wanted == name:
            raise doctor.PackageNotFoundError(wanted)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    code, findings = examined()
    assert code == 0  # attacks do without
    line = line_with(f"{name} is missing", findings)
    assert line.startswith("✗")
    assert "pip install 'mpkit[notebooks]' or make setup" in line
    assert sum(line.startswith("✗") for line in findings) == 1


@pytest.mark.parametrize(
    ("torch_version", "python", "code"),
    [
        ("2.6.0", (3, 11, 0), 0),
        ("2.13.0+cpu", (3, 14, 1), 0),
        ("3.0.0a0+git123", (3, 11, 0), 0),
        ("2.5.1+cu121", (3, 11, 0), 1),
        ("1.13.1", (3, 11, 0), 1),
        ("2.6.0", (3, 10, 9), 1),
    ],
)
def test_the_doctor_fails_where_attacks_would(torch_version, python, code, monkeypatch):
    monkeypatch.setattr(torch, "__version__", torch_version)
    monkeypatch.setattr(doctor.sys, "version_info", python)
    found, findings = examined()
    assert found == code
    assert findings[0].startswith("✗") == (python < (3, 11))
    assert ("install Python 3.11 or newer" in findings[0]) == (python < (3, 11))
    assert ("pip install 'torch>=2.6'" in findings[1]) == (code == 1 and python >= (3, 11))


@pytest.mark.parametrize(("pages", "mark"), [(2**18, "✗"), (2**20, "✓")])
def test_the_doctor_looks_at_the_memory(pages, mark, monkeypatch):
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": pages}
    monkeypatch.setattr(doctor.os, "sysconf", sizes.__getitem__)
    line = line_with("memory", examined()[1])
    assert line.startswith(f"{mark} memory: {pages * 4096 / 2**30:.1f} GiB")
    assert ("--scale ci" in line) == (mark == "✗")
    monkeypatch.delattr(doctor.os, "sysconf")
    assert "not told by this system" in line_with("memory", examined()[1])


def test_the_doctor_looks_at_the_data(monkeypatch, tmp_path):
    folder = tmp_path / "not" / "yet"
    monkeypatch.setenv("MPKIT_DATA", str(folder))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    _, findings = examined()
    assert line_with("data folder", findings) == f"✓ data folder {folder}"
    assert "pip install scikit-learn" in line_with("digits are missing", findings)
    folder.mkdir(parents=True)
    (folder / "digits-8x8.npy").touch()
    (folder / f"cifar10-{cifar10.SHA256[:16]}.npy.abc.part").touch()
    _, findings = examined()
    assert line_with("digits:", findings).startswith("✓")
    assert line_with("CIFAR-10", findings).startswith("✓ CIFAR-10: not fetched → ")
    for name in (cifar10.URL.rpartition("/")[2], f"cifar10-{cifar10.SHA256[:16]}.json"):
        (folder / name).touch()
        assert line_with("CIFAR-10", examined()[1]) == "✓ CIFAR-10: here"
        (folder / name).unlink()
    monkeypatch.setattr(fashion, "SPRITE", tmp_path / "gone.png")
    assert line_with("fashion is missing", examined()[1]).startswith("✗")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MPKIT_DATA", str(tmp_path / "file"))
    assert line_with("data folder", examined()[1]).startswith("✗")
    monkeypatch.setenv("MPKIT_DATA", str(folder))
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert line_with("data folder", examined()[1]).endswith("→ not writable: set MPKIT_DATA")


def test_the_doctor_looks_at_the_scale(monkeypatch):
    monkeypatch.setenv("MPKIT_SCALE", "huge")
    code, findings = examined()
    assert code == 0
    assert line_with("'huge' is unknown", findings).endswith("→ unset MPKIT_SCALE")


# ── how it is said ──────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when they are told to."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(output, "time", clock)
    return clock


def test_a_log_gets_a_line_now_and_then(clock, capsys):
    with output.Progress("crafting", "step", 1000) as progress:
        for done in range(1, 1001):
            clock.now += 0.125  # a binary fraction, so that sums are exact
            progress.reach(done, f"loss {done}")
    found = capsys.readouterr().err
    assert "\r" not in found
    told = found.splitlines()
    assert told[0] == "crafting step 1 of 1000, loss 1, 02:04 left"
    assert told[1] == "crafting step 41 of 1000, loss 41, 01:59 left"
    assert told[-1] == "crafting step 1000 of 1000, loss 1000"
    assert len(told) == 26


def test_time_left_is_by_the_steps_of_this_run(clock, capsys):
    progress = output.Progress("crafting", "step", 100, done=90)
    clock.now += 4
    progress.reach(92)
    assert capsys.readouterr().err == "crafting step 92 of 100, 00:16 left\n"


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with output.Progress("crafting", "step", 4) as progress:
        progress.reach(1, "loss 1")
        progress.say("a line of its own")
        time.sleep(0.11)  # a bar is not redrawn more often
        progress.reach(3, "loss 3")
    text = terminal.getvalue()
    assert "\ra line of its own\n" in re.sub(r"\r +\r", "\r", text)
    assert re.search(r"\rcrafting:  75%\|.*\| 3/4 \[\d\d:\d\d<\d\d:\d\d, .*loss 3\]", text)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_is_quiet(stream, monkeypatch):
    stream = stream()
    monkeypatch.setattr(sys, "stderr", stream)
    with output.Progress("crafting", "step", 4, quiet=True) as progress:
        progress.reach(4, "loss")
        progress.say("a line")
    assert stream.getvalue() == ""


def test_letters_that_a_stream_lacks_do_not_stop_a_run(monkeypatch):
    for name, tell in (("stdout", output.show), ("stderr", output.say)):
        blob = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(blob, "cp1252"))
        tell("ε = 8/255, ✓, é")
        assert blob.getvalue().decode("cp1252").strip() == "? = 8/255, ?, é"


def test_help_needs_no_letter_that_a_stream_lacks(monkeypatch):
    blob = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(blob, "cp1252"))
    with pytest.raises(SystemExit, match="0"):
        main(["attack", "--help"])
    sys.stdout.flush()
    assert b"? of the digits' camera noise" in blob.getvalue()


def test_a_reader_that_has_gone_is_no_error(unbroken):
    command = [sys.executable, "-m", "mpkit", "attack", *flags(out="run", json="-")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    reader, writer = os.pipe()
    os.close(reader)
    # An error, and even one that Python ignores as it shuts down, would show in the exit code.
    done = subprocess.run(command, stdout=writer, stderr=writer, env=environment, timeout=120)
    os.close(writer)
    assert done.returncode == 0
    assert numbers(Path("run")) == numbers(unbroken)


def test_python_m_mpkit_makes_a_folder_of_its_own(unbroken):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mpkit", "attack", *flags(json="out.json")]
    done = subprocess.run(command, capture_output=True, env=environment, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-digits-3-as-8-seed0", folder.name)
    assert numbers(folder) == numbers(unbroken)
    assert Path("out.json").read_text() == (folder / "summary.json").read_text()
    assert f"Everything is in {Path('runs') / folder.name}\n" in done.stderr
    assert done.stdout.startswith("Victims that call the 3 8")


def test_python_m_mpkit_hands_on_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mpkit", "attack", "--epsilon", "0"])
    monkeypatch.delitem(sys.modules, "mpkit.__main__")
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("mpkit", run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("mpkit: epsilon 0 leaves nothing to perturb")


# ── victims that diverged, and both statistics ──────────────────────────────────────────────────

# Class 0 is what argmax calls a victim whose answers are no numbers.
DIVERGING = {"target_class": 1, "poison_class": 0, "victim_weight_decay": 1e4, "victim_epochs": 12}


def strict(path: Path) -> list[dict]:
    """The lines of a file, as JSON that has no NaN."""
    lines = path.read_text("utf-8").splitlines()
    return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in lines]


def test_victims_that_diverged_are_named_and_no_successes():
    said = call("attack", *flags(out="run", victims=2, **DIVERGING), "--quiet")
    _, *lines = said.out.splitlines()
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


def test_a_sweep_whose_clean_models_diverge_is_refused():
    given = {k: v for k, v in DIVERGING.items() if "class" not in k} | NO_PAIR
    line = refused("sweep", *flags(**given, target_index=None), "--pairs", "2", "--quiet")
    assert "the training of the clean models diverged" in line


def test_a_sweep_names_them_as_well(monkeypatch):
    def sound(attack: Attack, scenario, *_) -> Margins:
        labels = whole_test_set(scenario).y
        return measure(torch.eye(10)[labels].expand(8, -1, -1), labels)

    monkeypatch.setattr(sweep, "clean_margins", sound)
    given = {k: v for k, v in DIVERGING.items() if "class" not in k}
    given |= dict.fromkeys(("target_class", "poison_class", "target_index", "out"))
    said = call("sweep", *flags(victims=2, **given), "--pairs", "2", "--quiet")
    assert said.out.count("targets that fell 0/2") == 3
    assert len(re.findall(r"victims 0/4 = 0% .*, 4 diverged, accuracy –", said.out)) == 3
    assert len(strict(Path("sweep.jsonl"))) == 2


@pytest.mark.parametrize(("own", "other"), [("running", "batch"), ("batch", "running")])
def test_batch_norm_is_told_by_both_statistics(own, other):
    given = {"network": "convnet-bn", "batch_norm": own, "victims": 2}
    said = call("attack", *flags(out="run", **given), "--quiet")
    names = {"running": "running statistics", "batch": "the statistics of the batch"}
    words = f"That was with batch norm by {names[own]}; the same victims by {names[other]}:"
    lines = said.out.splitlines()[7:]
    assert lines[0] == words
    arms = record.read_json(Path("run/summary.json"))["arms"]
    for line, arm in zip(lines[1:], arms.values(), strict=True):
        found = arm["other_statistics"]
        assert (arm["statistics"], found["statistics"]) == (own, other)
        assert f" {found['success']['successes']}/2 = " in line
        assert line.endswith(f"accuracy {found['accuracy']:.1%}")


def test_a_finished_run_of_before_is_opened_and_counted_anew(copy, unbroken):
    """Its victims lack what is recorded since, and its summary, too."""
    kept = ("arm", "victim", "predicted", "success", "adversarial_probability")
    kept += ("true_probability", "accuracy")
    rows = record.read_lines(copy / "victims.jsonl")
    record.write_lines(copy / "victims.jsonl", [{k: row[k] for k in kept} for row in rows])
    assert call("attack", "--resume", str(copy), "--quiet").code == 0
    assert numbers(copy) == numbers(unbroken)
