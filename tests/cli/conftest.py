"""A command in this process, the tiny attack as flags, and a whole run to copy from."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpkit.__main__ import build_parser, main
from mpkit.cli import sweep
from mpkit.cli.options import attack_from
from mpkit.data.schema import SEAL
from mpkit.evaluation.targets import Target
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import clean_margins, load_scenario

TINY = {
    "scale": "ci", "data": "digits", "size": 10, "n-train": 60, "n-test": 100, "models": 2,
    "craft-steps": 3, "epochs": 2, "batch": 20, "unroll-steps": 2, "victims": 1, "target-index": 0,
}  # fmt: skip

FILES = {
    "settings.json", "records.jsonl", "state.safetensors", "frames.safetensors",
    "poisons.safetensors", "poisons",
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
    if values["data"] != "digits" and "size" not in changes:
        del values["size"]  # of digits alone
    return [t for k, v in values.items() if v is not None for t in (f"--{k}", str(v))]


@pytest.fixture(autouse=True, scope="module")
def control_c():
    """Ctrl-C interrupts, also where these tests run in the background of a shell (which has it
    ignored)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
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


def results(said: Said) -> list[str]:
    """The lines of a result, but for the one that says why an attack failed."""
    return [line for line in said.out.splitlines() if not line.startswith("Why it failed: ")]


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
        return [{k: v for k, v in row.items() if k not in ("seconds", SEAL)} for row in rows]

    summary = json.loads((folder / "summary.json").read_text())
    del summary["seconds"]
    pictures = {p.name: p.read_bytes() for p in (folder / "poisons").iterdir()}
    tensors = [(folder / f"{n}.safetensors").read_bytes() for n in ("state", "poisons")]
    lines = timeless("records.jsonl"), timeless("victims.jsonl")
    return {"summary": summary, "pictures": pictures, "tensors": tensors, "lines": lines}


@pytest.fixture(scope="session")
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


def from_flags(*arguments: str) -> Attack:
    return attack_from(build_parser().parse_args(["attack", "--scale", "ci", *arguments]))


class Killed(BaseException):
    """What no code catches, as a kill is not caught."""


def lines(path: str) -> int:
    return Path(path).read_bytes().count(b"\n") if Path(path).exists() else 0


def interrupt(*_, **__):
    signal.raise_signal(signal.SIGINT)


# Class 0 is what argmax calls a victim whose answers are no numbers.
DIVERGING = {"target_class": 1, "poison_class": 0, "victim_weight_decay": 1e4, "victim_epochs": 12}


def strict(path: Path) -> list[dict]:
    """The lines of a file, as JSON that has no NaN."""
    lines = path.read_text("utf-8").splitlines()
    return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in lines]


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


class Stand:
    """In the place of `_measure`: made-up arms, and a note of what was asked for."""

    def __init__(self, stop: int | None = None, error: type = Killed):
        self.asked, self.stop, self.error = [], stop, error

    def __call__(self, attack: Attack, _: object = None) -> dict:
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


def swept(monkeypatch, stand: Stand, *arguments: str) -> Said:
    monkeypatch.setattr(sweep, "_measure", stand)
    return call(
        "sweep",
        *flags(epsilon=None, unroll_steps=None, **DRAWN),
        "--quiet",
        "--workers",
        "1",
        *arguments,
    )
