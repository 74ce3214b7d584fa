"""What a run's result comes from: its data, by a fingerprint, and the packages that compute."""

from __future__ import annotations

import hashlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from mpkit.device import tf32
from mpkit.scenario import Scenario


def digest(scenario: Scenario) -> str:
    """A short fingerprint of pictures, labels, bases and targets: a resumed run must find them."""
    s, found = scenario, hashlib.sha256()
    for part in (s.train.x, s.train.y, s.validation.x, s.validation.y, s.bases, s.targets):
        found.update(part.cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def code() -> str:
    """A short fingerprint of mpkit's own modules, as they are on disk here."""
    found, package = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        found.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return found.hexdigest()[:16]


def versions() -> dict[str, str]:
    """What a result may depend on: Python, the packages that compute, and how a GPU rounds."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found["mpkit"] = sys.modules["mpkit"].__version__  # also where it is not installed
    found["torch"] = torch.__version__  # with its build, which the package's version leaves out
    if tf32() and torch.cuda.is_available():
        found["float32"] = "TF32"
    for name in ("numpy", "scipy", "scikit-learn", "pillow", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
