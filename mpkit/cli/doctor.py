"""``mpkit doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from mpkit import cifar10
from mpkit.data import cache_folder
from mpkit.device import cores, describe, pick_device
from mpkit.scale import scale_name


def run(options: argparse.Namespace) -> int:
    """Print a line a finding, ✓ or ✗ with advice: 1 if something that attacks need is missing."""
    findings = [_python(), *_packages(), _device(), _memory(), _scale(), *_data()]
    for ok, what, advice in findings:
        print(f"{'✓' if ok else '✗'} {what}" + (f" → {advice}" if advice else ""))
    return 0 if all(ok for ok, _, _ in findings[:2]) else 1


def _python():
    ok = sys.version_info >= (3, 11)
    return ok, f"Python {platform.python_version()}", "" if ok else "install Python 3.11 or newer"


def _packages():
    """torch first, for `run`; then what notebooks need."""
    ok = tuple(int(p) for p in torch.__version__.split("+")[0].split(".")[:2]) >= (2, 6)
    yield ok, f"torch {torch.__version__}", "" if ok else "pip install 'torch>=2.6'"
    for name, why in (
        ("jupyterlab", "notebooks"),
        ("ipywidgets", "the lab"),
        ("matplotlib", "plots"),
    ):
        try:
            yield True, f"{name} {version(name)}", ""
        except PackageNotFoundError:
            yield (
                False,
                f"{name} is missing",
                f"for {why}: pip install 'mpkit[notebooks]' or make setup",
            )


def _device():
    device = pick_device()
    advice = "" if device.type == "cuda" else "no GPU: the digits run in seconds all the same"
    return (
        True,
        f"device: {device.type}, {describe(device)}, torch uses {torch.get_num_threads()} threads",
        advice,
    )


def _memory():
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return True, f"memory: not told by this system, {cores()} cores", ""
    ok = total >= 3
    return ok, f"memory: {total:.1f} GiB", "" if ok else "close other programs, or use --scale ci"


def _scale():
    try:
        return True, f"scale: {scale_name(None, torch.cuda.is_available())}", ""
    except ValueError as error:
        return False, str(error), "unset MPKIT_SCALE"


def _data():
    folder = cache_folder()
    writable = os.access(folder if folder.exists() else folder.parent, os.W_OK)
    yield writable, f"data folder {folder}", "" if writable else "not writable: set MPKIT_DATA"
    yield True, "digits: come with scikit-learn, no download", ""
    there = bool(list(folder.glob(f"cifar10-{cifar10.SHA256[:16]}*"))) if folder.exists() else False
    note = "" if there else "optional, 162 MiB: mpkit fetch cifar10"
    yield True, f"CIFAR-10: {'here' if there else 'not fetched'}", note
