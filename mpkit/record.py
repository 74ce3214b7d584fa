"""A run on disk: a folder that can be resumed, replayed and shared.

    settings.json       what was asked for, versions, device, plan: all that is needed to run again
    records.jsonl       one line a craft step
    state.safetensors   the latest `CraftState`, replaced atomically after every step
    poisons.safetensors the 8-bit poisons, and the training rows they replace
    poisons/*.png       the same, as pictures
    victims.jsonl       one line a victim
    summary.json        rates with n and interval;  summary.png shows base, δ and poison

Tensors are safetensors and everything else is JSON: opening somebody else's run executes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from mpkit.data import Dataset
from mpkit.functional import State
from mpkit.metapoison import CraftRecord, CraftState


class RecordError(ValueError):
    """A run folder that is missing, damaged, or of another run; the message says which."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that a kill leaves the old file or the new, whole."""
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def write_json(path: Path, value: object) -> None:
    """`value` as readable JSON, written atomically."""
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict:
    """Raises RecordError naming the file if it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RecordError(f"{path.parent} is no run folder: it has no {path.name}") from error
    except ValueError as error:
        raise RecordError(f"{path} is damaged: {error}") from error


def save_state(folder: Path, state: CraftState) -> None:
    """Replace the folder's state. On one machine, going on from it is bit for bit the same run."""
    from safetensors.torch import save

    write_atomically(folder / "state.safetensors", save(_flatten(state), {"step": str(state.step)}))


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
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
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
    """Dataclass records, one line of JSON each, at the end of a file."""
    with open(path, "a", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict]:
    """The whole lines of a file; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def replay(folder: Path) -> list[CraftRecord]:
    """The craft steps of a recorded run, as `craft` gave them. Raises RecordError."""
    read_json(folder / "settings.json")
    fields = {f.name for f in dataclasses.fields(CraftRecord)}
    rows = [
        {k: v for k, v in row.items() if k in fields}
        for row in read_lines(folder / "records.jsonl")
    ]
    try:
        return [CraftRecord(**r | {k: tuple(r[k]) for k in ("losses", "ages")}) for r in rows]
    except (KeyError, TypeError) as error:
        raise RecordError(f"{folder / 'records.jsonl'} is damaged: {error}") from error


def truncate_records(folder: Path, step: int) -> None:
    """Forget recorded steps later than the state, which a kill between the two writes can leave."""
    kept = [r for r in replay(folder) if r.step <= step]
    lines = "".join(json.dumps(dataclasses.asdict(r), ensure_ascii=False) + "\n" for r in kept)
    write_atomically(folder / "records.jsonl", lines.encode())


def save_poisons(folder: Path, poisons: Tensor, rows: Tensor) -> None:
    """uint8 poisons (P, C, H, W) and the training rows (P,) they replace; and as PNG files."""
    from PIL import Image
    from safetensors.torch import save

    tensors = {"poisons": poisons.cpu().contiguous(), "rows": rows.cpu().contiguous()}
    write_atomically(folder / "poisons.safetensors", save(tensors))
    (folder / "poisons").mkdir(exist_ok=True)
    for picture, row in zip(poisons.cpu(), rows.tolist(), strict=True):
        pixels = picture[0] if len(picture) == 1 else picture.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(folder / "poisons" / f"{row:05d}.png")


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


def digest(dataset: Dataset) -> str:
    """A short fingerprint of pictures and labels: a resumed run must find the same ones."""
    found = hashlib.sha256(dataset.x.cpu().numpy().tobytes())
    found.update(dataset.y.cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def versions() -> dict[str, str]:
    """What a result may depend on: Python and the packages that compute."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("mpkit", "torch", "numpy", "scipy", "scikit-learn", "pillow", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
