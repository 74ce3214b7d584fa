"""``mpkit doctor``: what is here, what is missing, what to do."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest
import torch

from mpkit.cli import doctor
from mpkit.data import DEFAULT_DATA, cifar10, fashion
from tests.cli.conftest import call


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


@pytest.mark.parametrize(
    ("text", "gpu", "told"),
    [
        ("6", False, "✓ MPKIT_GPU_MEMORY is set, and does nothing without a GPU"),
        ("25%", True, "✓ MPKIT_GPU_MEMORY: a process takes at most 25% of the GPU's memory"),
        ("lots", True, "✗ MPKIT_GPU_MEMORY 'lots' must be GiB"),
    ],
)
def test_the_doctor_looks_at_the_cap_on_a_gpu(text, gpu, told, monkeypatch):
    monkeypatch.setenv("MPKIT_GPU_MEMORY", text)
    monkeypatch.setattr(doctor, "pick_device", lambda: torch.device("cuda" if gpu else "cpu"))
    monkeypatch.setattr(doctor, "describe", lambda _: "a card")
    there = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: there)
    code, findings = examined()
    assert code == 0
    assert line_with("MPKIT_GPU_MEMORY", findings).startswith(told)


def test_the_doctor_says_what_is_wrong_with_a_cap_on_threads(monkeypatch):
    monkeypatch.setenv("MPKIT_THREADS", "two")
    code, findings = examined()
    assert code == 0
    assert line_with("MPKIT_THREADS", findings).startswith("✗ MPKIT_THREADS must be a whole number")


@pytest.mark.parametrize(("text", "told"), [("1", "✓ MPKIT_TF32: "), ("yes", "✗ MPKIT_TF32 'yes'")])
def test_the_doctor_looks_at_how_a_gpu_rounds(text, told, monkeypatch):
    monkeypatch.setenv("MPKIT_TF32", text)
    _, findings = examined()
    assert line_with("MPKIT_TF32", findings).startswith(told)


def test_the_doctor_sees_that_there_is_no_home(no_home, monkeypatch):
    monkeypatch.setenv("MPKIT_DATA", "~/mpkit")
    _, findings = examined()
    line = line_with("data folder", findings)
    assert line.startswith("✗")
    assert "no home folder ~ here; write the path in full" in line
