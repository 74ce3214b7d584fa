"""Run folders mutated at random, read as resuming, replaying and counting read them.

    python tests/fuzz/records.py [how many] [--seed 0] [--first 0] [--hostile]

Each number is a mutation of its own seed: a failure is repeated by --first NUMBER and a count of 1.
A folder is either refused by RecordError, ValueError or DataError (never by another error), or what
is read of it is what was written; in 5 s, and 500 MB. `WRONG` are mutations that must be refused.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from mpkit.data import DataError
from mpkit.metapoison import poisons_of
from mpkit.runs import record
from mpkit.runs.attack import make_attack
from mpkit.runs.folder import begin, open_run
from mpkit.runs.prepared import prepare

sys.path.insert(0, str(Path(__file__).parent))

from watching import arguments, damaged, peak, watched

JSON = ("settings.json", "records.jsonl", "victims.jsonl")
TENSORS = ("state.safetensors", "poisons.safetensors")
ODD = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -1e308, float("nan"),
    float("inf"), "", "nan", "-inf", "x", "../../etc/passwd", "\x00", "é" * 1000, [], [[]], {}, [0],
    {"a": 1}, [None] * 1000, "1" * 5000,
]  # fmt: skip


def make_run(parent: Path) -> Path:
    """A tiny run, whole but for its summary."""
    how = {"size": 8, "n_train": 60, "n_test": 100, "target_index": (0,), "models": 2}
    how |= {"craft_steps": 3, "epochs": 2, "batch": 20, "unroll_steps": 2, "victims": 2}
    ready = prepare(make_attack("ci", data="digits", **how), progress=False)
    folder = begin(ready, out=parent / "whole")
    for state, step in ready.craft():
        record.append(folder / "records.jsonl", [step])
        record.save_state(folder, state)
    poisons = poisons_of(ready.scenario, state, ready.attack.settings)
    record.save_poisons(folder, poisons, ready.scenario.bases)
    *_, (_, victims) = ready.judge(poisons)
    record.write_lines(folder / "victims.jsonl", victims)
    return folder


def read(folder: Path) -> dict:
    """All that any part of mpkit reads of a run folder, as plain values."""
    run = open_run(folder)
    state, (poisons, rows) = record.load_state(folder), record.load_poisons(folder)
    record.saved_step(folder)
    parts = [] if state is None else [state.parameters, state.moment1, state.moment2]
    parts += [] if state is None else [*state.surrogates]
    tensors = [{k: v.numpy().tobytes() for k, v in sorted(part.items())} for part in parts]
    return {
        "run": (run.attack, run.plans, run.data, run.targets, run.weights),
        "steps": record.replay(folder),
        "victims": run.victims(),
        "state": (state and state.step, tensors),
        "poisons": (poisons.numpy().tobytes(), rows.tolist()),
    }


# ── mutations: each says whether the folder must be refused ─────────────────────────────────────


def bytes_changed(draw: random.Random, path: Path) -> bool:
    path.write_bytes(damaged(draw, path.read_bytes()))
    return False


def cut(draw: random.Random, path: Path) -> bool:
    blob = path.read_bytes()
    path.write_bytes(blob[: draw.randrange(len(blob))])
    return path.suffix != ".jsonl"  # whose last lines a kill may have cut off


def deep(draw: random.Random, path: Path) -> bool:
    text = draw.choice(("[", '{"a":', '{"attack":{"settings":', "[{"))
    blob = (text * draw.choice((100, 5000, 300_000))).encode()
    path.write_bytes(blob + b"\n{}\n" if path.suffix == ".jsonl" else blob)
    return True


def huge(draw: random.Random, path: Path) -> bool:
    size = draw.choice((1 << 27, 1 << 31, 1 << 40))
    blob = path.read_bytes()
    with open(path, "wb") as file:
        file.write(draw.choice((b"", blob)))
        file.truncate(size)
    return True


def many(draw: random.Random, path: Path) -> bool:
    """As much as is read, of what takes most memory for its bytes."""
    line = draw.choice((b"{}\n", b'{"a":[[],[],[]]}\n', b"[]\n", path.read_bytes()))
    path.write_bytes((line * (record.MAX_LINES // len(line) + 1))[: record.MAX_LINES])
    return True


def no_file(draw: random.Random, path: Path) -> bool:
    path.unlink()
    kind = draw.randrange(6)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    else:
        aims = ("/dev/zero", "/dev/stdin", "/proc/self/mem", str(path))
        os.symlink(aims[kind - 2], path)
    return True


def link(draw: random.Random, path: Path) -> bool:
    away = path.parent.parent / f"away-{path.name}"
    away.unlink(missing_ok=True)
    shutil.move(path, away)
    os.symlink(away, path)
    return True


def gone(draw: random.Random, path: Path) -> bool:
    path.unlink()
    return path.name in ("settings.json", "poisons.safetensors")


def one_value(draw: random.Random, path: Path) -> bool:
    """Some value, or name, of some JSON object is another one."""
    lines = (
        [json.loads(t) for t in path.read_text("utf-8").splitlines()]
        if path.suffix == (".jsonl")
        else [json.loads(path.read_text("utf-8"))]
    )
    at = lines[draw.randrange(len(lines))]
    while True:
        key = draw.choice(list(at)) if isinstance(at, dict) else draw.randrange(len(at))
        if isinstance(at[key], dict | list) and at[key] and draw.random() < 0.7:
            at = at[key]
            continue
        break
    how = draw.randrange(4)
    if how == 0:
        del at[key]
    elif how == 1 and isinstance(at, dict):
        at[key + draw.choice(("x", " ", "2"))] = at.pop(key)
    elif how == 2 and isinstance(at[key], int | float):
        at[key] = at[key] * draw.choice((-1, 2, 1.5, 1e9, 10**20))
    else:
        at[key] = draw.choice(ODD)
    text = "\n".join(json.dumps(v) for v in lines)  # also NaN, which others write
    path.write_text(text + "\n", "utf-8")
    return False


def doubled(draw: random.Random, path: Path) -> bool:
    """Lines of two processes, or in another order."""
    lines = path.read_bytes().splitlines(keepends=True)
    if path.suffix != ".jsonl":
        path.write_bytes(b"".join(lines * 2))
        return True
    i = draw.randrange(len(lines))
    lines.insert(draw.randrange(len(lines)), lines[i])
    path.write_bytes(b"".join(lines))
    return True


def tensors_changed(draw: random.Random, path: Path) -> bool:
    """Well-formed, with the texts of before: numbers, shapes, types or names are other ones."""
    with safetensors.safe_open(path, "pt") as file:
        about = file.metadata()
    held = safetensors.torch.load_file(path)
    name, how = draw.choice(sorted(held)), draw.randrange(6)
    tensor = held[name]
    if how == 0 and tensor.is_floating_point():
        held[name] = tensor * draw.choice((float("nan"), 2.0, 1e30, -1.0))
    elif how == 1:
        held[name] = tensor.flatten()[:-1].clone()
    elif how == 2:
        held[name] = (tensor + 1).to(draw.choice((torch.float64, torch.int32, torch.float16)))
    elif how == 3:
        held[f"{name}x"] = held.pop(name)
    elif how == 4:
        about = about | {"step": draw.choice(("2", "-1", "x", "3.0", "10" * 40))}
    else:
        held[name] = tensor.flatten().roll(1).reshape(tensor.shape) + 1
    safetensors.torch.save_file(held, path, about)
    return True


WRONG: dict[str, tuple[Callable, tuple[str, ...]]] = {
    f.__name__: (f, names)
    for f, names in (
        (bytes_changed, JSON + TENSORS), (cut, JSON + TENSORS), (deep, JSON + TENSORS),
        (huge, JSON + TENSORS), (many, JSON), (no_file, JSON + TENSORS), (link, JSON + TENSORS),
        (gone, JSON + TENSORS), (one_value, JSON), (one_value, JSON), (doubled, JSON),
        (tensors_changed, TENSORS),
    )
}  # fmt: skip


def unlike(found: dict, whole: dict, name: str) -> str:
    """What was accepted of a mutated file and is not what was written, bit for bit; "" for
    nothing."""
    for key in ("run", "state", "poisons"):
        if found[key] not in (whole[key], (None, [])):
            return f"{key} is another one"
    for key, file in (("steps", "records.jsonl"), ("victims", "victims.jsonl")):
        # Of the file that was mutated, lines may be gone, as after a kill.
        there = [one for one in whole[key] if name != file or one in found[key]]
        if sorted(map(repr, found[key])) != sorted(map(repr, there)):
            return f"{key} are other ones"
    return ""


HOSTILE = ("deep", "huge", "many", "no_file", "link")
"""Those that nobody's disk does by itself."""


def mutate(
    number: int, seed: int, whole: Path, place: Path, only: tuple[str, ...]
) -> tuple[str, str, bool]:
    """The folder with one file mutated: what was done, to which, and whether it must be refused."""
    draw = random.Random(f"{seed} {number}")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place)
    what, names = WRONG[draw.choice(sorted(only))]
    name = draw.choice(names)
    before = (place / name).read_bytes()
    must = what(draw, place / name)
    plain = (place / name).is_file() and not (place / name).is_symlink()
    if plain and (place / name).stat().st_size < 1 << 27:
        must = must and (place / name).read_bytes() != before
    return what.__name__, name, must


def fuzz(count: int, seed: int, first: int, parent: Path, only: tuple[str, ...]) -> list[str]:
    """The failures; prints counts."""
    whole = make_run(parent)
    expected, counts, failures = read(whole), Counter(), []
    allowed = record.RecordError, DataError, ValueError
    for number in range(first, first + count):
        what, name, must = mutate(number, seed, whole, parent / "mutated", only)

        def call(name=name, must=must) -> str:
            found = read(parent / "mutated")
            return "it must be refused" if must else unlike(found, expected, name)

        end, wrong = watched(call, allowed)
        counts[what, end] += 1
        if wrong:
            failures.append(f"{number}: {what} of {name}, {wrong}")
            print(failures[-1], flush=True)
    for (what, end), n in sorted(counts.items()):
        print(f"{what:<16} {end:<8} {n}")
    print(f"{count} folders, {len(failures)} failures, peak {peak()} MB")
    return failures


def main() -> int:
    parser = arguments(__doc__, 1000)
    parser.add_argument("--hostile", action="store_true", help=f"only {', '.join(HOSTILE)}")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        only = HOSTILE if a.hostile else tuple(WRONG)
        return bool(fuzz(a.count, a.seed, a.first, Path(parent), only))


if __name__ == "__main__":
    sys.exit(main())
