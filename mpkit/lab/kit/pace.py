"""How long a run took on this machine, so that the next one can say beforehand.

One small file in the data folder: seconds for a unit of work, by lab, network and machine. A file
that cannot be read or written only costs the words "about 8 s here".
"""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from mpkit.data import Dataset, cache_folder, files
from mpkit.device import describe, pick_device
from mpkit.functional import own
from mpkit.lab.kit.runner import Phase, Put, Runner
from mpkit.runs.attack import Attack
from mpkit.settings import STILL


def resting(runner: Runner, seconds: float) -> Iterator[Put]:
    """For a lab's items, before one that is to be seen: a rest, which a reset may end."""
    end = time.monotonic() + seconds
    while runner.mode == "thread" and time.monotonic() < end:
        time.sleep(min(0.05, seconds))
        yield Put()


def crafting_work(attack: Attack, rows: int) -> float:
    """Crafting in pictures trained on: an epoch of every surrogate a step, and beside it the way
    K steps out and back, which costs about 2.2 K times as much (docs/results.md, Speed). A rival
    trains its surrogates once, and takes its poisons there and back some three times a step."""
    s = attack.settings
    if s.method != "metapoison":
        there = 3 * attack.budget * rows * s.craft_steps * (s.method not in STILL)
        return s.models * (s.recipe.epochs * rows + there)
    return s.craft_steps * s.models * rows * (1 + 2.2 * s.unroll_steps)


def training_work(attack: Attack, rows: int, models: int) -> float:
    """Training so many victims (or twins) in the same unit."""
    return attack.victim_recipe.epochs * rows * models


RATES = {"cpu": 2e10, "cuda": 2e12}
"""Multiplications a second, roughly: what two cores did (docs/results.md, Speed), and a GPU."""
LONG = 60
"""Seconds from which on even a rough time is told."""


@functools.lru_cache(maxsize=32)
def multiplications(module: nn.Module, shape: tuple[int, int, int]) -> int:
    """Of one picture (C, H, W) through the convolutions and linear layers of a module that has no
    weights (see `mpkit.networks.network`)."""
    module, found = own(module), []

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        found.append(out[0].numel() * layer.weight[0].numel())

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    module(torch.empty(2, *shape, device="meta"))  # batch norm refuses one
    return sum(found)


def rough(attack: Attack, train: Dataset, work: float) -> float:
    """Seconds for so much work where nobody knows: by the size of the networks, each picture going
    forward and back. None of it where only a last layer trains, on features computed once."""
    tuned = attack.fine_tune, attack.tuning_of_victims
    pairs = zip(attack.networks(train.shape, len(train.classes)), tuned, strict=True)
    sizes = [multiplications(n, train.shape) for n, tuning in pairs if tuning != "last"]
    rate = RATES.get(pick_device(attack.device).type, RATES["cpu"])
    return 3 * work * max(sizes, default=0) / rate


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
        self.batches: tuple[int, int] | None = None  # how many of the step under way are done
        self.told = 0.0

    def batch(self, done: int, of: int) -> None:
        """Note how far the step under way is."""
        self.batches = done, of

    def due(self) -> bool:
        """Whether it is time to tell it again."""
        now = time.perf_counter()
        due = now - self.told > 0.5
        self.told = now if due else self.told
        return due

    def changed(self) -> None:
        """The runner's phase is another one."""
        lab, phase = self.lab, self.lab.runner.phase
        if phase.ended or phase is Phase.READY:
            self.batches = None
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
        if back := lab.looking_back():
            parts.append(f"<b>{back}</b>")
        if self.batches and self.batches[0] < self.batches[1]:
            parts.append(f"{self.batches[0]} of {self.batches[1]} batches")
        if phase in (Phase.PAUSING, Phase.STOPPING):
            parts.append(f"after this {'batch' if self.batches else lab.unit}")
        if phase is Phase.READY and (work := lab.work()):
            if expected := seconds(lab.name, lab.attack, work):
                parts.append(f"about {told(expected)} here")
            elif (guess := rough(lab.attack, lab.pictures(), work)) >= LONG:
                parts.append(f"roughly {told(guess)} here, by the size of the network")
        if phase is Phase.READY and waiting:
            parts.append("guess first, or skip")
        before = self.steps  # once: a press may count anew meanwhile
        if phase is Phase.RUNNING and total and done > before:
            each = (time.perf_counter() - self.began) / (done - before)
            parts.append(f"about {told(each * (total - done))} left")
        if phase.ended:
            parts.append("↺ to start over")
        return " · ".join(parts)
