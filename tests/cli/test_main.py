"""``mpkit`` as a whole: help, exit codes, one clear line for what is refused."""

from __future__ import annotations

import argparse
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mpkit
from mpkit.__main__ import build_parser, main
from mpkit.cli import attack as attack_command
from mpkit.data import cifar10, datasets
from tests.cli.conftest import Said, call, flags, interrupt, numbers, refused
from tests.conftest import ROOT

# ── flags ───────────────────────────────────────────────────────────────────────────────────────


def commands() -> dict[str, argparse.ArgumentParser]:
    (group,) = (a for a in build_parser()._actions if isinstance(a.choices, dict))
    return group.choices


@pytest.mark.parametrize("command", commands())
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
    for command in commands():
        assert re.search(rf"^ +{command} +\w+", said.out, re.MULTILINE)
    assert call("--version").out == f"mpkit {mpkit.__version__}\n"


# ── what is refused ─────────────────────────────────────────────────────────────────────────────


def test_memory_that_runs_out_gets_one_clear_line(monkeypatch):
    def full(*_, **__):
        raise MemoryError

    for stand_in in (lambda *_, **__: torch.empty(10**15), full):
        monkeypatch.setattr(attack_command, "prepare", stand_in)
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


# ── stopped and resumed ─────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("entry", ["-m mpkit doctor", "entry point"])
@pytest.mark.parametrize("loading", ["torch", "numpy", "mpkit.cli"])
def test_control_c_while_modules_load_says_one_line(entry, loading, tmp_path):
    """The process interrupts itself as it begins to load one of them, at whatever depth."""
    (tmp_path / "sitecustomize.py").write_text(f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, *_):
        if name == {loading!r} and "mpkit" in sys.modules:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
""")
    script = "import sys; from mpkit.__main__ import main; sys.exit(main(['doctor']))"
    how = entry.split() if entry.startswith("-") else ["-c", script]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *how], capture_output=True, text=True, env=environment, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nmpkit: stopped\n")


def test_loading_the_package_loads_nothing_else():
    code = (
        "import sys, mpkit; print(mpkit.__version__, 'torch' in sys.modules, 'craft' in dir(mpkit))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stdout.decode().split() == [mpkit.__version__, "False", "True"]
    assert all(getattr(mpkit, name) is not None for name in mpkit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mpkit.nothing  # noqa: B018
    assert sorted(mpkit.__all__) == sorted(mpkit._MODULES)


def test_control_c_elsewhere_claims_nothing(monkeypatch):
    monkeypatch.setattr(datasets, "fetch_cifar10", interrupt)
    assert call("fetch", "cifar10") == Said(130, "", "\nmpkit: stopped\n")


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
    monkeypatch.setattr(datasets, "fetch_cifar10", lambda: tmp_path / "archive")
    said = call("fetch", "cifar10")
    assert (said.code, said.out) == (0, f"CIFAR-10 is in {tmp_path / 'archive'}\n")


# ── how it is said ──────────────────────────────────────────────────────────────────────────────


def test_help_needs_no_letter_that_a_stream_lacks(monkeypatch):
    blob = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(blob, "cp1252"))
    with pytest.raises(SystemExit, match="0"):
        main(["attack", "--help"])
    sys.stdout.flush()
    assert b"sigma of the digits' camera noise" in blob.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("doctor", 0), ("attack --epsilon 7", 2)])
def test_streams_may_be_closed(closed, command, code):
    line = f'exec "{sys.executable}" -m mpkit {command} {closed}'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], capture_output=True, env=environment, text=True)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert ("epsilon must lie" in done.stderr) == (code == 2 and "2>&-" not in closed)


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
