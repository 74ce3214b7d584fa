"""A run on disk: a folder that can be resumed, replayed and shared.

    settings.json       what was asked for, versions, device, plan: all that is needed to run again
    records.jsonl       one line a craft step
    state.safetensors   the latest `CraftState`, replaced atomically after every step
    poisons.safetensors the 8-bit poisons, and the training rows they replace
    poisons/*.png       the same, as pictures
    frames.safetensors  some poisons at some steps, to be looked at (see `mpkit.runs.frames`)
    victims.jsonl       one line a victim
    summary.json        rates with n and interval;  summary.png shows it (see `mpkit.runs.summary`)

Tensors are safetensors and everything else is JSON: opening somebody else's run executes nothing.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import torch
from torch import Tensor

from mpkit.data import files
from mpkit.data.schema import built, parsed, sealed, strict, unsealed, within
from mpkit.data.tensors import pack, texts, unpack
from mpkit.functional import State
from mpkit.metapoison import CraftRecord, CraftState
from mpkit.setting import settings_of
from mpkit.settings import Settings

Row = TypeVar("Row")
PARTS = ("parameters", "moment1", "moment2", "surrogates.params", "stats", "kept")
MAX_JSON, MAX_LINES, MAX_TENSORS, ROOM = 1 << 23, 1 << 25, 1 << 30, 1 << 20
"""Bytes of a file that are read: of JSON, of lines of it, of tensors where it is not known how many
there are; and what names them, beside their numbers, where it is."""


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


def write_json(path: Path, value: object, new: bool = False) -> None:
    """`value` as readable JSON, written as by `files.write`. Raises ValueError for what JSON has no
    word for, such as NaN."""
    text = json.dumps(strict(value), indent=1, ensure_ascii=False, allow_nan=False)
    # Bytes of a path that are no text are written as JSON has them, \udce9.
    files.write(path, (text + "\n").encode(errors="backslashreplace"), new=new)


def read_json(path: Path) -> dict:
    """Raises RecordError naming the file if it is missing, no JSON object, or was changed since it
    was written, as its checksum tells, which only those of format 1 may lack."""
    try:
        value = parsed(files.read(path, MAX_JSON))
        if isinstance(value, dict):
            return unsealed(value, must_seal=value.get("format", 1) != 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(f"{path.parent} is no run folder: it has no {path.name}") from error
    except PermissionError as error:
        raise RecordError(f"{path} can't be read: {error.strerror}") from error
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged: {error}") from error
    raise RecordError(f"{path} is damaged: it holds no JSON object")


def must_be_sealed(folder: Path) -> bool:
    """Whether all in the folder must have checksums, as in every format but the first."""
    there = (folder / "settings.json").exists()
    return there and read_json(folder / "settings.json").get("format") != 1


def save_state(folder: Path, state: CraftState) -> None:
    """Replace the folder's state. On one machine, going on from it is bit for bit the same run."""
    content = pack(flatten(state), {"step": str(state.step)})
    files.write(folder / "state.safetensors", content)


def load_state(
    folder: Path, device: torch.device | str = "cpu", most: int = MAX_TENSORS
) -> CraftState | None:
    """The folder's state, None if no step was finished; at most `most` bytes are read. Raises
    RecordError if it is damaged."""
    from safetensors import SafetensorError

    path = folder / "state.safetensors"
    try:
        flat, about = unpack(path, most, must_be_sealed(folder))
        # Copied, so that it lies in memory as torch's own does: some sums depend on that.
        return unflatten(_step(about), {k: v.to(device, copy=True) for k, v in flat.items()})
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise RecordError(f"{path} can't be read: {error.strerror}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({error}); start the run anew") from error


def saved_step(folder: Path) -> int:
    """The step of the folder's state, 0 where there is none that can be read."""
    try:
        return _step(texts(folder / "state.safetensors"))
    except (OSError, ValueError):
        return 0


def _step(about: dict[str, str]) -> int:
    step = about.get("step", "")
    if not re.fullmatch("0|[1-9][0-9]{0,8}", step):
        raise ValueError("it does not tell its step")
    return int(step)


def flatten(state: CraftState) -> dict[str, Tensor]:
    """All of a state's tensors, by names that `unflatten` knows."""
    own, (params, stats) = (state.parameters, state.moment1, state.moment2), state.surrogates
    parts = zip(PARTS, (*own, params, stats, state.kept), strict=True)
    # Cloned, since safetensors refuses tensors that share memory, as fresh moments do.
    return {f"{a}/{k}": v.contiguous().clone() for a, d in parts for k, v in d.items()}


def unflatten(step: int, flat: dict[str, Tensor]) -> CraftState:
    """What was flattened after craft step `step`. Raises ValueError where tensors are missing."""
    named = [(*name.partition("/"), tensor) for name, tensor in flat.items()]
    found = [{name: tensor for part, _, name, tensor in named if part == own} for own in PARTS]
    *own, params, stats, kept = found
    if not all([*own, params]):
        raise ValueError("tensors are missing")
    return CraftState(step, *own, State(params, stats), kept)


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
    """A record as strict JSON, which has no NaN and no infinity: they are written as words; and
    with a checksum."""
    value = dataclasses.asdict(record) if dataclasses.is_dataclass(record) else record
    text = json.dumps(sealed(strict(value)), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode(errors="backslashreplace")


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
        value = parsed(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_lines(path: Path) -> list[dict]:
    """The lines of a file, none if it is not there; a last line cut off by a kill is left out.

    Raises RecordError for a line that is no JSON object.
    """
    return each_line(path, lambda row: row)


def each_line(path: Path, made: Callable[[dict], Row], must_seal: bool = False) -> list[Row]:
    """What is `made` of every line, as in `read_lines`. ValueErrors of it become RecordErrors that
    name the line; so does a checksum that is another one, or is missing though it must be there."""
    try:
        lines = io.BytesIO(files.read(path, MAX_LINES))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordError(f"{path} can't be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        row = _object(line)
        if row is None and not line.endswith(b"\n"):
            break  # the last
        if row is None:
            raise RecordError(f"{path} is damaged: line {number} is no JSON object")
        try:
            found.append(made(unsealed(row, must_seal)))
        except ValueError as error:
            raise RecordError(f"{path} is damaged: line {number}: {error}") from error
    return found


def replay(folder: Path) -> list[CraftRecord]:
    """The craft steps of a recorded run, as `craft` gave them. Raises RecordError."""
    read_json(folder / "settings.json")
    path = folder / "records.jsonl"
    steps = itertools.count(1)

    def next_one(row: dict) -> CraftRecord:
        found, expected = _record_of(row), next(steps)
        if found.step != expected:
            raise ValueError(f"step {found.step} stands where {expected} should: start anew")
        return found

    return each_line(path, next_one, must_be_sealed(folder))


def _record_of(row: dict) -> CraftRecord:
    """Raises ValueError for what is no record of a craft step."""
    found, limits = built(CraftRecord, row), settings_of(Settings)
    for name in ("epsilon", "epsilon_c", "unroll_steps"):
        limits[name].check(getattr(found, name))
    if not found.losses or len(found.losses) != len(found.ages):
        raise ValueError("losses and ages are not those of the same surrogates")
    within(0, math.inf, ages=found.ages, seconds=found.seconds)
    return found


def truncate_records(folder: Path, step: int) -> None:
    """Forget recorded steps later than the state, which a kill between the two writes can leave.

    Raises RecordError where an earlier one is missing.
    """
    path = folder / "records.jsonl"
    kept = [r for r in replay(folder) if r.step <= step]
    if len(kept) < step:
        raise RecordError(f"{path} is damaged: it lacks steps before {step}; start the run anew")
    write_lines(path, kept)


def save_poisons(folder: Path, poisons: Tensor, rows: Tensor) -> None:
    """uint8 poisons (P, C, H, W) and the training rows (P,) they replace; and as PNG files."""
    from PIL import Image

    tensors = {"poisons": poisons.cpu().contiguous(), "rows": rows.cpu().contiguous()}
    files.write(folder / "poisons.safetensors", pack(tensors, {}))
    (folder / "poisons").mkdir(exist_ok=True)
    for picture, row in zip(poisons.cpu(), rows.tolist(), strict=True):
        pixels = picture[0] if len(picture) == 1 else picture.permute(1, 2, 0)
        png = partial(Image.fromarray(pixels.numpy()).save, format="PNG")
        files.write(folder / "poisons" / f"{row:05d}.png", png, folder, sync=False)


def load_poisons(folder: Path) -> tuple[Tensor, Tensor]:
    """uint8 poisons (P, C, H, W) and their training rows (P,). Raises RecordError."""
    from safetensors import SafetensorError

    path = folder / "poisons.safetensors"
    try:
        tensors, _ = unpack(path, MAX_TENSORS, must_be_sealed(folder))
        poisons, rows = tensors["poisons"], tensors["rows"]
        kinds = poisons.dtype, poisons.ndim, rows.dtype, rows.shape
        if kinds != (torch.uint8, 4, torch.int64, poisons.shape[:1]) or (rows < 0).any():
            raise ValueError("they are no 8-bit pictures with their rows")
        return poisons, rows
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise RecordError(f"no poisons can be read from {path}: {error}") from error
