"""Make of a recorded run what may ship: settings, curves, counts, and δ, without any picture.

    python tests/benchmarks/ship_run.py runs/… data/recorded/NAME --title "…" --pictures FOLDER

FOLDER is the folder of pictures that the run was crafted on (train/<class>/<file>). δ goes into
differences.safetensors as int8 (P, C, H, W), in levels of 255, at most 127: what δ is added to is
named in bases.json, by file name and by a perceptual hash (dHash, 64 bits: whether each of 8 × 8
places is brighter than its right neighbour), which finds the picture in another copy of the data.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from mpkit.data import files
from mpkit.data.datasets import load_dataset
from mpkit.data.schema import sealed
from mpkit.runs import record
from mpkit.runs.folder import open_run

COPIED = ("records.jsonl", "victims.jsonl", "summary.json")


def dhash(picture: Image.Image) -> str:
    """The 64 bits as 16 hex digits."""
    small = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BILINEAR), dtype=int)
    bits = (small[:, :-1] > small[:, 1:]).flatten()
    return f"{int(''.join(map(str, bits.astype(int))), 2):016x}"


def named(pixels: np.ndarray, files: Sequence[Path]) -> list[Path]:
    """The file of each of pixels (P, H, W, C). Raises ValueError for one that is in none."""
    by_pixels = {np.asarray(Image.open(f).convert("RGB")).tobytes(): f for f in files}
    found = [by_pixels.get(picture.tobytes()) for picture in pixels]
    if None in found:
        raise ValueError(f"base {found.index(None)} is none of these {len(files)} pictures")
    return found


def ship(run: Path, out: Path, pictures: Path, title: str) -> None:
    """Write the folder that may ship. Raises ValueError and RecordError."""
    saved = open_run(run)
    poisons, rows = record.load_poisons(run)
    a = saved.attack
    how = {k: getattr(a, k) for k in ("n_train", "n_test", "max_train", "max_test", "classes")}
    train, _ = load_dataset(pictures, **how)
    bases = (255 * train.x[rows]).round().to(torch.int16)
    change = poisons.to(torch.int16) - bases
    if change.abs().max() > 127:
        raise ValueError("δ is larger than int8 holds")
    out.mkdir(parents=True, exist_ok=True)
    tensors = {"delta": change.to(torch.int8).contiguous(), "rows": rows}
    files.write(out / "differences.safetensors", save(tensors))
    kinds = {train.classes[int(label)] for label in train.y[rows]}
    there = sorted(f for kind in kinds for f in (pictures / "train" / kind).iterdir())
    found = named(bases.permute(0, 2, 3, 1).to(torch.uint8).numpy(), there)
    about = [{"file": f"{f.parent.name}/{f.name}", "dhash": dhash(Image.open(f))} for f in found]
    record.write_json(out / "bases.json", {"bases": about})
    for name in COPIED:
        (out / name).write_bytes((run / name).read_bytes())
    settings = record.read_json(run / "settings.json") | {"title": title}
    settings["attack"]["data"] = pictures.name
    record.write_json(out / "settings.json", sealed(settings))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--title", required=True)
    a = parser.parse_args(arguments)
    ship(a.run, a.out, a.pictures, a.title)
    size = sum(f.stat().st_size for f in a.out.iterdir())
    print(json.dumps({"folder": str(a.out), "bytes": size}, allow_nan=False))


if __name__ == "__main__":
    main()
