"""What `make` says before it installs: with a Python in its place that only notes what is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    os.name == "nt" or not shutil.which("make"), reason="make, and a shell of POSIX"
)
CUDA = "PyTorch for NVIDIA cards: 2.7 GB to download"

PYTHON = """#!/bin/sh
case "$*" in
    --version) echo "Python $VERSION" ;;
    *">= (3, 15)"*) [ "$VERSION" != 3.15.0 ] ;;
    *find_spec*) [ -n "$FOUND" ] ;;
    *"pip install"*) echo "$@" ;;
esac
"""


@pytest.fixture
def made(tmp_path):
    """`make setup` on a made-up system: what it says, and its exit code."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def tool(name: str, text: str) -> None:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def make(*arguments: str, system: str = "Linux", **surroundings: str):
        tool("python", PYTHON)
        tool("uname", f"#!/bin/sh\necho {system}\n")
        if surroundings.pop("driver", ""):
            tool("nvidia-smi", "#!/bin/sh\n")
        outer = ("MAKE", "MFLAGS", "PIP_ARGS")  # of a make that runs these tests
        environment = {k: v for k, v in os.environ.items() if not k.startswith(outer)}
        environment |= {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        environment |= {"VERSION": "3.12.0", "FOUND": ""} | surroundings
        command = ["make", "-C", ROOT, "setup", f"VENV={tmp_path}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return make


card = pytest.mark.skipif(
    Path("/proc/driver/nvidia").exists() or bool(shutil.which("nvidia-smi")),
    reason="here is an NVIDIA driver",
)


@card
def test_the_size_is_told_before_it_begins(made):
    done = made()
    assert done.returncode == 0, done.stderr
    told, began = done.stdout.index(CUDA), done.stdout.index("Installing mpkit")
    assert told < began < done.stdout.index("pip install")
    assert "make setup PIP_ARGS='--extra-index-url ADDRESS'" in done.stdout
    assert "https://pytorch.org/get-started/locally" in done.stdout


@card
@pytest.mark.parametrize(
    "how",
    [{"system": "Darwin"}, {"driver": "yes"}, {"FOUND": "torch"}, {"PIP_ARGS": "--no-index"}],
    ids=lambda how: next(iter(how)),
)
def test_it_is_told_only_where_it_matters(how, made):
    done = made(**how)
    assert done.returncode == 0, done.stderr
    assert CUDA not in done.stdout
    assert "pip install" in done.stdout
    assert ("--no-index" in done.stdout) == ("PIP_ARGS" in how)


def test_a_python_without_wheels_is_refused_before_anything_is_loaded(made):
    done = made(VERSION="3.15.0")
    assert done.returncode != 0
    assert "for Python 3.11 to 3.14, and" in done.stdout
    assert "is Python 3.15.0. Name another: make setup PYTHON=python3.14" in done.stdout
    assert "pip install" not in done.stdout


def test_the_readme_says_what_make_says():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "2.7 GB" in readme
    assert "PIP_ARGS='--extra-index-url ADDRESS'" in readme
    assert "(https://pytorch.org/get-started/locally)" in readme
