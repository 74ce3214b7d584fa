"""A run on disk: a folder that can be resumed, replayed and shared.

    settings.json       what was asked for, versions, device, plan: all that is needed to run again
    records.jsonl       one line a craft step
    state.safetensors   the latest `CraftState`, replaced atomically after every step
    poisons.safetensors the 8-bit poisons, and the training rows they replace
    poisons/*.png       the same, as pictures
    victims.jsonl       one line a victim
    summary.json        rates with n and interval;  summary.png shows it (see `mpkit.runs.summary`)

Tensors are safetensors and everything else is JSON: opening somebody else's run executes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import os
import platform
import sys
from collections.abc import Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from mpkit.data import files
from mpkit.functional import State
from mpkit.metapoison import CraftRecord, CraftState
from mpkit.scenario import Scenario


class RecordError(ValueError):
    """A run folder that is missing, damaged, or of another run; the message says which."""


def new_folder(path: Path) -> Path:
    """Make a folder that was not there: `path`, or path-2, path-3 … where another run has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = path.with_name(f"{path.name}-{number}") if number > 1 else path
        try:
            folder.mkdir()  # not looked at first: between look and mkdir another run could come
        except FileExistsError:
            continue
        return folder


def write_json(path: Path, value: object) -> None:
    """`value` as readable JSON, written atomically. Raises ValueError for what JSON has no word
    for, such as NaN."""
    text = json.dumps(strict(value), indent=1, ensure_ascii=False, allow_nan=False)
    files.write(path, (text + "\n").encode())


def read_json(path: Path) -> dict:
    """Raises RecordError naming the file if it is missing or no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(f"{path.parent} is no run folder: it has no {path.name}") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise RecordError(f"{path} is damaged: it holds no JSON object")
    return value


def save_state(folder: Path, state: CraftState) -> None:
    """Replace the folder's state. On one machine, going on from it is bit for bit the same run."""
    from safetensors.torch import save

    files.write(folder / "state.safetensors", save(_flatten(state), {"step": str(state.step)}))


def load_state(folder: Path, device: torch.device | str = "cpu") -> CraftState | None:
    """The folder's state, None if no step was finished. Raises RecordError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    path = folder / "state.safetensors"
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            flat = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a dict)
            return _unflatten(int(file.metadata()["step"]), flat)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({error}); start the run anew") from error


def _flatten(state: CraftState) -> dict[str, Tensor]:
    parts = {k: getattr(state, k) for k in ("parameters", "moment1", "moment2")}
    parts |= {"surrogates.params": state.surrogates.params, "stats": state.surrogates.stats}
    # Cloned, since safetensors refuses tensors that share memory, as fresh moments do.
    return {f"{a}/{k}": v.contiguous().clone() for a, d in parts.items() for k, v in d.items()}


def _unflatten(step: int, flat: dict[str, Tensor]) -> CraftState:
    def part(name: str) -> dict[str, Tensor]:
        return {k.split("/", 1)[1]: v for k, v in flat.items() if k.split("/", 1)[0] == name}

    surrogates = State(part("surrogates.params"), part("stats"))
    found = [part(k) for k in ("parameters", "moment1", "moment2")]
    if not all([*found, surrogates.params]):
        raise ValueError("tensors are missing")
    return CraftState(step, *found, surrogates)


def append(path: Path, records: Iterable[object]) -> None:
    """Dataclass records, or JSON objects, one line each, at the end of a file and on the disk.

    Raises RecordError where the file ends in something else, which is left as it is.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    with open(files.opened(path, flags), "ab+") as file:
        _end_line(path, file)
        for record in records:
            file.write(_line(record))
        file.flush()
        os.fsync(file.fileno())  # or the state, which is, could be newer after a power cut


def write_lines(path: Path, records: Iterable[object]) -> None:
    """A file of these records alone, one line each, written atomically."""
    files.write(path, b"".join(map(_line, records)))


def _line(record: object) -> bytes:
    """A record as strict JSON, which has no NaN and no infinity: they are written as words."""
    value = dataclasses.asdict(record) if dataclasses.is_dataclass(record) else record
    return (json.dumps(strict(value), ensure_ascii=False, allow_nan=False) + "\n").encode()


def strict(value: object) -> object:
    """The same value with words for floats that are not finite, and lists for tuples."""
    if isinstance(value, dict):
        return {k: strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [strict(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _end_line(path: Path, file: BinaryIO) -> None:
    """End a last line that a kill has left open, so that nothing is glued to it."""
    if not file.tell():
        return
    file.seek(-1, os.SEEK_END)
    if file.read() == b"\n":
        return
    file.seek(0)
    before, newline, last = file.read().rpartition(b"\n")
    if _object(last) is not None:
        file.write(b"\n")
    elif last.startswith(b"{"):
        file.truncate(len(before + newline))
    else:
        raise RecordError(f"{path} is no file of records: name another")


def _object(line: bytes) -> dict | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_lines(path: Path) -> list[dict]:
    """The lines of a file, none if it is not there; a last line cut off by a kill is left out.

    Raises RecordError for a line that is no JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    found = [_object(line) for line in lines]
    if None in found[:-1]:
        raise RecordError(f"{path} is damaged: line {found.index(None) + 1} is no JSON object")
    return found if found[-1] is not None else found[:-1]


def replay(folder: Path) -> list[CraftRecord]:
    """The craft steps of a recorded run, as `craft` gave them. Raises RecordError."""
    read_json(folder / "settings.json")
    fields = {f.name for f in dataclasses.fields(CraftRecord)}
    rows = [
        {k: _numbers_of(v) for k, v in row.items() if k in fields}
        for row in read_lines(folder / "records.jsonl")
    ]
    try:
        return [CraftRecord(**r | {k: tuple(r[k]) for k in ("losses", "ages")}) for r in rows]
    except (KeyError, TypeError) as error:
        raise RecordError(f"{folder / 'records.jsonl'} is damaged: {error}") from error


def _numbers_of(value: object) -> object:
    """The way back from the words for what is no number."""
    if isinstance(value, list):
        return [_numbers_of(v) for v in value]
    return float(value) if value in ("nan", "inf", "-inf") else value


def truncate_records(folder: Path, step: int) -> None:
    """Forget recorded steps later than the state, which a kill between the two writes can leave.

    Raises RecordError where an earlier one is missing.
    """
    path = folder / "records.jsonl"
    kept = [r for r in replay(folder) if r.step <= step]
    if [r.step for r in kept] != list(range(1, step + 1)):
        raise RecordError(f"{path} is damaged: it lacks steps before {step}; start the run anew")
    write_lines(path, kept)


def save_poisons(folder: Path, poisons: Tensor, rows: Tensor) -> None:
    """uint8 poisons (P, C, H, W) and the training rows (P,) they replace; and as PNG files."""
    from PIL import Image
    from safetensors.torch import save

    tensors = {"poisons": poisons.cpu().contiguous(), "rows": rows.cpu().contiguous()}
    files.write(folder / "poisons.safetensors", save(tensors))
    (folder / "poisons").mkdir(exist_ok=True)
    for picture, row in zip(poisons.cpu(), rows.tolist(), strict=True):
        pixels = picture[0] if len(picture) == 1 else picture.permute(1, 2, 0)
        png = partial(Image.fromarray(pixels.numpy()).save, format="PNG")
        files.write(folder / "poisons" / f"{row:05d}.png", png, folder, sync=False)


def load_poisons(folder: Path) -> tuple[Tensor, Tensor]:
    """uint8 poisons (P, C, H, W) and their training rows (P,). Raises RecordError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "poisons.safetensors"
    try:
        tensors = load_file(path)
        return tensors["poisons"], tensors["rows"]
    except (OSError, SafetensorError, KeyError) as error:
        raise RecordError(f"no poisons can be read from {path}: {error}") from error


def digest(scenario: Scenario) -> str:
    """A short fingerprint of pictures, labels, bases and targets: a resumed run must find them."""
    s, found = scenario, hashlib.sha256()
    for part in (s.train.x, s.train.y, s.validation.x, s.validation.y, s.bases, s.targets):
        found.update(part.cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def versions() -> dict[str, str]:
    """What a result may depend on: Python and the packages that compute."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found["mpkit"] = sys.modules["mpkit"].__version__  # also where it is not installed
    for name in ("torch", "numpy", "scipy", "scikit-learn", "pillow", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
