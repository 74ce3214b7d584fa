"""How long a run took on this machine, so that the next one can say beforehand.

One small file in the data folder: seconds for a unit of work, by lab, network and machine. A file
that cannot be read or written only costs the words "about 8 s here".
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

from mpkit.data import cache_folder, files
from mpkit.device import describe, pick_device
from mpkit.lab.kit.runner import Phase
from mpkit.runs.attack import Attack


def crafting_work(attack: Attack, rows: int) -> float:
    """Crafting in pictures trained on: an epoch of every surrogate a step, and beside it the way
    K steps out and back, which costs about 2.2 K times as much (docs/results.md, Speed)."""
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


def seconds(lab: str, attack: Attack, work: float) -> float | None:
    """What so much work will take here; None where nothing like it was run yet."""
    unit = files.known_json(file()).get(_key(lab, attack))
    known = isinstance(unit, float) and math.isfinite(unit) and unit > 0
    return unit * work if known else None


def remember(lab: str, attack: Attack, work: float, took: float) -> None:
    """Keep that so much work took so many seconds."""
    with contextlib.suppress(OSError):
        file().parent.mkdir(parents=True, exist_ok=True)
        files.change_json(file(), {_key(lab, attack): took / work})


def told(seconds: float) -> str:
    """A time in words, in seconds or minutes."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


class Clock:
    """How far a lab's run is and how long it takes: foretold, learnt from runs that nobody paused
    or changed, and told."""

    def __init__(self, lab):
        """`lab` is a `Lab` whose runner is there."""
        self.lab = lab
        self.began, self.steps = time.perf_counter(), 0
        self.whole: tuple[float, float] | None = None  # since when, and how much is computed

    def changed(self) -> None:
        """The runner's phase is another one."""
        lab, phase = self.lab, self.lab.runner.phase
        if phase is Phase.RUNNING:
            self.began, self.steps = time.perf_counter(), lab.runner.steps
            if self.steps == 0:
                self.whole = self.began, lab.work() or 0.0
        elif phase is Phase.DONE and self.whole and self.whole[1] and not lab.marks:
            began, work = self.whole
            remember(lab.name, lab.attack, work, time.perf_counter() - began)
        else:
            self.whole = None

    def words(self, waiting: bool) -> str:
        """The status line; `waiting` for a guess."""
        lab, phase, done = self.lab, self.lab.runner.phase, self.lab.runner.steps
        if total := lab.total():  # what is asked for may have changed since
            total = done if phase is Phase.DONE else max(total, done)
        parts = [f"<b>{phase.value}</b>{'…' if phase.value.endswith('ing') else ''}"]
        shown = f"{lab.unit} {max(0, done - lab.lead)}"
        parts.append(shown + (f" of {total - lab.lead}" if total else ""))
        if phase is Phase.READY and (work := lab.work()):
            expected = seconds(lab.name, lab.attack, work)
            parts += [f"about {told(expected)} here"] if expected else []
        if phase is Phase.READY and waiting:
            parts.append("guess first, or skip")
        if phase is Phase.RUNNING and total and done > self.steps:
            each = (time.perf_counter() - self.began) / (done - self.steps)
            parts.append(f"about {told(each * (total - done))} left")
        if phase.ended:
            parts.append("↺ to start over")
        return " · ".join(parts)
