"""``mpkit attack --resume``: what may have changed since, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from mpkit import finetuning
from mpkit.data.schema import SEAL, sealed
from mpkit.runs import record
from tests.cli.conftest import call, flags, interrupt, numbers, refused

# ── stopped and resumed ─────────────────────────────────────────────────────────────────────────


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
             "--victim-lr 0.1", "--stagger no", "--size 20"],
)  # fmt: skip
def test_flags_that_contradict_a_resumed_run_are_refused(flag, copy):
    line = refused("attack", "--resume", copy, *flag.split())
    assert f"leave out {flag.split()[0]}" in line


OF_PICTURES = {"data": "few", "network": "mlp", "n-train": None, "n-test": None,
               "target-class": "a", "poison-class": "b"}  # fmt: skip


def test_a_run_follows_its_pictures(few, tmp_path, monkeypatch):
    assert call("attack", *flags(**OF_PICTURES, out="run"), "--quiet").code == 0
    before, run = numbers(Path("run")), tmp_path / "run"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert call("attack", "--resume", run, "--quiet").code == 0
    moved = (tmp_path / "few").rename(tmp_path / "my few")
    line = refused("attack", "--resume", run)
    assert "are not at 'few': say where they are now with --data" in line
    assert call("attack", "--resume", run, "--quiet", "--data", moved).code == 0
    assert numbers(run) == before
    for other in ("digits", "../my few/train"):
        assert refused("attack", "--resume", run, "--data", other)
    monkeypatch.setattr("mpkit.cli.attack._craft", interrupt)
    said = call("attack", "--resume", run, "--data", "../my few")
    assert said.code == 130
    assert "The run in" in said.err
    (run / "summary.json").unlink()
    said = call("attack", "--resume", run, "--data", "../my few")
    assert said.err.endswith(f"Go on with: mpkit attack --resume {run} --data '../my few'\n")


def test_data_that_is_called_by_name_may_be_named_again(copy):
    assert call("attack", "--resume", copy, "--data", "digits", "--quiet").code == 0
    line = refused("attack", "--resume", copy, "--data", "signs", "--quiet")
    assert "the data at 'signs' are not those of the run" in line


def test_a_device_that_is_not_here_is_refused_on_resuming(copy):
    assert "'cuda:99'" in refused("attack", "--resume", copy, "--device", "cuda:99")


# ── damage ──────────────────────────────────────────────────────────────────────────────────────


def edited(path: Path, change) -> bytes:
    settings = json.loads(path.read_text())
    change(settings)
    return json.dumps(sealed({k: v for k, v in settings.items() if k != SEAL})).encode()


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
    "settings newer": ("settings.json", changed("format", value=3), "newer mpkit: update mpkit"),
    "settings by another hand": (
        "settings.json", lambda path: path.read_bytes().replace(b'"seed": 0', b'"seed": 1'),
        "its checksum is another one",
    ),
    "a record by another hand": (
        "records.jsonl", lambda path: path.read_bytes().replace(b'"loss": ', b'"loss": 1', 1),
        "line 1: it was changed since it was written",
    ),
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


def test_a_run_that_does_not_name_its_data_is_of_the_digits(copy):
    saved = record.read_json(copy / "settings.json")
    assert saved["attack"].pop("data") == "digits"
    record.write_json(copy / "settings.json", sealed(saved))
    assert call("attack", "--resume", copy, "--quiet").code == 0


# ── pretrain ────────────────────────────────────────────────────────────────────────────────────


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


# ── victims that diverged, and both statistics ──────────────────────────────────────────────────


def test_a_finished_run_of_before_is_opened_and_counted_anew(copy, unbroken):
    """Its victims lack what is recorded since, and its summary, too."""
    kept = ("arm", "victim", "predicted", "success", "adversarial_probability")
    kept += ("true_probability", "accuracy")
    rows = record.read_lines(copy / "victims.jsonl")
    record.write_lines(copy / "victims.jsonl", [{k: row[k] for k in kept} for row in rows])
    assert call("attack", "--resume", str(copy), "--quiet").code == 0
    assert numbers(copy) == numbers(unbroken)
