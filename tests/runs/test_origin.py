"""The fingerprint of data, and versions."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import torch

from mpkit.runs import origin
from tests.runs.conftest import scenario


def test_the_fingerprint_changes_with_whatever_a_run_depends_on():
    s = scenario()
    seen = {origin.digest(s)}
    assert origin.digest(scenario()) in seen

    def touched(tensor):
        changed = tensor.clone()
        changed.view(-1)[-1] += 1
        return changed

    for field in ("train", "validation"):
        part = getattr(s, field)
        for key in ("x", "y"):
            other = dataclasses.replace(part, **{key: touched(getattr(part, key))})
            seen.add(origin.digest(dataclasses.replace(s, **{field: other})))
    for field in ("bases", "targets"):
        seen.add(origin.digest(dataclasses.replace(s, **{field: touched(getattr(s, field))})))
    assert len(seen) == 7
    assert all(len(found) == 16 for found in seen)


def test_versions_name_what_computes(monkeypatch):
    found = origin.versions()
    assert found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert {"python", "platform", "scipy", "scikit-learn", "pillow", "safetensors"} <= set(found)

    def missing(name):
        raise origin.PackageNotFoundError(name)

    monkeypatch.setattr(origin, "version", missing)
    assert origin.versions()["numpy"] == "not installed"
    json.dumps(origin.versions())


def test_how_a_gpu_rounds_is_told_where_it_is_not_as_usual(monkeypatch):
    monkeypatch.setenv("MPKIT_TF32", "1")
    assert ("float32" in origin.versions()) == torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert origin.versions()["float32"] == "TF32"
    monkeypatch.delenv("MPKIT_TF32")
    assert "float32" not in origin.versions()


def test_code_is_known_by_its_files(tmp_path, monkeypatch):
    package = tmp_path / "mpkit"
    (package / "runs").mkdir(parents=True)
    monkeypatch.setattr(origin, "__file__", str(package / "runs" / "origin.py"))
    (package / "a.py").write_text("one", "utf-8")
    first = origin.code()
    assert first == origin.code()
    (package / "a.py").write_text("two", "utf-8")
    assert origin.code() != first
