"""How long a run took on this machine, so that the next one can say beforehand.

One small file in the data folder: seconds for a unit of work, by lab, network and machine. A file
that cannot be read or written only costs the words "about 8 s here".
"""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

from mpkit.attack import Attack
from mpkit.data import cache_folder
from mpkit.device import describe, pick_device
from mpkit.record import write_atomically


def crafting_work(attack: Attack, rows: int) -> float:
    """Crafting in pictures trained on: an epoch of every surrogate a step, and beside it the way
    K steps out and back, which costs about 2.2 K times as much (README, Speed)."""
    s = attack.settings
    return s.craft_steps * s.models * rows * (1 + 2.2 * s.unroll_steps)


def training_work(attack: Attack, rows: int, models: int) -> float:
    """Training so many victims (or twins) in the same unit."""
    return attack.victim_recipe.epochs * rows * models


def file() -> Path:
    """Where paces are kept."""
    return cache_folder() / "paces.json"


def _key(lab: str, attack: Attack) -> str:
    machine = describe(pick_device(attack.device))
    return f"{machine} | {lab} | {attack.network} {attack.data} {attack.size}"


def _read() -> dict:
    try:
        found = json.loads(file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def seconds(lab: str, attack: Attack, work: float) -> float | None:
    """What so much work will take here; None where nothing like it was run yet."""
    unit = _read().get(_key(lab, attack))
    known = isinstance(unit, float) and math.isfinite(unit) and unit > 0
    return unit * work if known else None


def remember(lab: str, attack: Attack, work: float, took: float) -> None:
    """Keep that so much work took so many seconds."""
    with contextlib.suppress(OSError):
        file().parent.mkdir(parents=True, exist_ok=True)
        paces = _read() | {_key(lab, attack): took / work}
        write_atomically(
            file(), json.dumps(paces, indent=1, sort_keys=True, allow_nan=False).encode()
        )


def told(seconds: float) -> str:
    """A time in words, in seconds or minutes."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
