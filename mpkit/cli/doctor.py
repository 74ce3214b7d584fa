"""``mpkit doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from mpkit import finetuning
from mpkit.cli.output import show
from mpkit.data import DEFAULT_DATA, cache_folder, cifar10, fashion
from mpkit.device import GPU_MEMORY, TF32, describe, gpu_share, pick_device, tf32
from mpkit.evaluation.rates import percent
from mpkit.runs.scale import scale_name


def run(options: argparse.Namespace) -> int:
    """Print a line a finding, ✓ or ✗ with advice: 1 if something that attacks need is missing."""
    return 0 if doctor() else 1


def doctor() -> bool:
    """Print a line a finding, as `run` does: False if something that attacks need is missing."""
    findings = [
        _python(),
        *_packages(),
        _device(),
        *_cap(),
        *_rounding(),
        _memory(),
        _scale(),
        *_data(),
    ]
    for ok, what, advice in findings:
        show(f"{'✓' if ok else '✗'} {what}" + (f" → {advice}" if advice else ""))
    return all(ok for ok, _, _ in findings[:2])


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
    advice = "" if device.type == "cuda" else f"no GPU: the {DEFAULT_DATA} do without one"
    try:
        words = describe(device)
    except ValueError as error:  # of MPKIT_THREADS
        return False, str(error), ""
    threads = torch.get_num_threads()
    return True, f"device: {device.type}, {words}, torch's threads: {threads}", advice


def _rounding():
    """How a GPU rounds, where that is set."""
    try:
        if tf32():
            yield True, f"{TF32}: products and convolutions in TF32 on a GPU", ""
    except ValueError as error:
        yield False, str(error), f"set it anew, or unset {TF32}"


def _cap():
    """What a process may take of a GPU, where that is set."""
    device = pick_device()
    if not os.environ.get(GPU_MEMORY, "").strip():
        return
    if device.type != "cuda":
        yield True, f"{GPU_MEMORY} is set, and does nothing without a GPU", ""
        return
    try:
        share = percent(gpu_share(device), 0)
        yield True, f"{GPU_MEMORY}: a process takes at most {share} of the GPU's memory", ""
    except ValueError as error:
        yield False, str(error), f"set it anew, or unset {GPU_MEMORY}"


def _memory():
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, ValueError, OSError):
        return True, "memory: not told by this system", ""
    ok = total >= 3
    return ok, f"memory: {total:.1f} GiB", "" if ok else "close other programs, or use --scale ci"


def _scale():
    try:
        return True, f"scale: {scale_name(None, torch.cuda.is_available())}", ""
    except ValueError as error:
        return False, str(error), "unset MPKIT_SCALE"


def _data():
    try:
        folder = cache_folder()
        there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
        usable = there.is_dir() and os.access(there, os.W_OK)
        advice = "not writable: set MPKIT_DATA"
    except ValueError as error:  # in a home folder that is not there
        folder, usable, advice = Path("?"), False, str(error)
    yield usable, f"data folder {folder}", "" if usable else advice
    digits = bool(find_spec("sklearn")) or (folder / "digits-8x8.npy").exists()
    advice = "" if digits else "they come with scikit-learn: pip install scikit-learn"
    yield digits, "digits: here, no download" if digits else "digits are missing", advice
    yield True, "signs: drawn here, no download", ""
    clothes = fashion.SPRITE.exists()
    advice = "" if clothes else f"{fashion.SPRITE} ships with mpkit's source code: fetch it again"
    yield clothes, "fashion: here, no download" if clothes else "fashion is missing", advice
    weights = (finetuning.SHIPPED / f"{finetuning.DEFAULT_WEIGHTS}.safetensors").exists()
    advice = "" if weights else f"{finetuning.SHIPPED} ships with mpkit's source code: fetch it"
    yield weights, f"weights to fine-tune: {'here' if weights else 'missing'}", advice
    names = (cifar10.URL.rpartition("/")[2], f"cifar10-{cifar10.SHA256[:16]}.json")
    fetched = any((folder / name).exists() for name in names)
    note = "" if fetched else "optional, 162 MiB: mpkit fetch cifar10"
    yield True, f"CIFAR-10: {'here' if fetched else 'not fetched'}", note
