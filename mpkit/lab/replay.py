"""ReplayLab: a recorded run, drawn as it went; such as one that took hours on another machine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from numbers import Real
from pathlib import Path

import torch

from mpkit.data.places import SHIPPED, at
from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import ARMS
from mpkit.evaluation.tally import counted, diverged, success_rate
from mpkit.evaluation.victims import VictimRecord
from mpkit.lab.kit.attack_lab import CRAFTING
from mpkit.lab.kit.canvas import font_size, new_figure
from mpkit.lab.kit.closing import close_all
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.looks import LOOKS, RateRow, name_rows
from mpkit.lab.kit.pace import resting
from mpkit.lab.kit.panel import Lab, Question
from mpkit.lab.kit.touch import Exhibit
from mpkit.lab.kit.views import LossView, tidy
from mpkit.lab.wish import wanted_by, wish_of
from mpkit.metapoison import CraftRecord
from mpkit.runs.folder import SavedRun, open_run
from mpkit.runs.frames import Frames
from mpkit.runs.record import RecordError, replay
from mpkit.runs.story import Story, story_of
from mpkit.scenario import Scenario
from mpkit.setting import changes
from mpkit.settings import loss_in_words

RECORDED = SHIPPED / "recorded"
"""Runs that ship with a checkout."""


class ReplayLab(Lab):
    """Every craft step of a run folder, and at the end its victims, counted.

    `run`: a run folder (`mpkit attack` and a `CraftLab`'s Save write them), or the name of a run
    that ships with mpkit in data/recorded. Nothing is computed, and the run's pictures are not
    needed. `rate` is in steps a second, above 0. Raises `RecordError` (a ValueError) for what is no
    run.
    """

    name, unit = "replay", "recorded step"

    def __init__(
        self,
        run: str | Path = "cifar10-three-classes",
        question: Question | None = None,
        large: bool = False,
        rate: float = 4,
    ):
        if not (isinstance(rate, Real) and 0 < rate < math.inf):
            raise ValueError(f"rate is in steps a second, a number above 0, and not {rate!r}")
        saved, self.rate = open_run(find(run)), rate
        self.folder = saved.folder
        self.attack, self.about = saved.attack, _told(saved)
        self.steps, self.victims = replay(saved.folder), saved.victims()
        self.records: list[CraftRecord] = []
        self.arrived: list[VictimRecord] = []
        self.figure, self.exhibit = new_figure(9, 4.2, large), Exhibit(self.say)
        self.grown = _grown(saved.folder)
        self._lay_out()
        turn = lambda v: setattr(self, "rate", v)  # noqa: E731
        self.controls = {"rate": Number("steps a second", rate, 1, 20, turn, self.say)}
        pictures = [self.exhibit.widget] if self.grown else []
        shown = [c.widget for c in self.controls.values()]
        self.assemble(self.figure, shown, question, pictures=pictures)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[CraftRecord | list[VictimRecord]]:
        for item in [*self.steps, *([self.victims] if self.victims else [])]:
            yield from resting(self.runner, 1 / self.rate)
            yield item

    def take(self, item: CraftRecord | list[VictimRecord]) -> None:
        if isinstance(item, list):
            self.arrived = item
            return
        for text in changes(self.records[-1], item, CRAFTING.values()) if self.records else ():
            self.mark(item.step - 0.5, text)
        self.records.append(item)

    def frame(self) -> tuple[int, bool]:
        return len(self.records), bool(self.arrived)

    def show_frame(self, frame: tuple[int, bool]) -> None:
        """So many records, and the victims or not yet."""
        count, counted = frame
        self.view.update(self.so_far(self.records, count), self.marks, count)
        self._count(counted)
        self._grow(count)

    def step_seen(self) -> str:
        count, counted = self.seen
        return "the victims" if counted else f"craft step {self.records[count - 1].step}"

    def clear(self) -> None:
        self.records, self.arrived = [], []
        self._lay_out()

    def total(self) -> int:
        return len(self.steps) + bool(self.victims)

    def curve(self):
        return [r.step for r in self.records], [r.loss for r in self.records]

    def describe(self) -> str:
        about = f"A recorded run: {self.about}. "
        count, arrived = self.seen or (0, False)
        if not count:
            return about + "Nothing has been replayed yet."
        last = self.records[count - 1]
        about += (
            f"After craft step {last.step} the mean adversarial loss is {last.loss:.2f}; it was "
            f"{self.records[0].loss:.2f} at first."
        )
        epochs = self.attack.victim_recipe.epochs
        arms = self._arms() if arrived else ()
        return about + "".join(f" {a}: {counted(self.victims, a, epochs)}." for a in arms)

    def story(self) -> Story:
        """The run that is replayed, as it is in its folder."""
        return story_of(self.folder)

    # ── the picture ───────────────────────────────────────────────────────────────────────────

    def _arms(self) -> list[str]:
        return [arm for arm in ARMS if any(r.arm == arm for r in self.victims)]

    def end(self, timeout: float | None = None) -> None:
        close_all(self.exhibit.widget)  # it may be in no box
        super().end(timeout)

    def _grow(self, count: int) -> None:
        """The poisons, as they were last kept before so many craft steps had been done."""
        if self.grown:
            _, frames = self.grown
            before = [i for i, step in enumerate(frames.steps) if step <= count]
            if before:
                self.exhibit.show(frames.pictures[before[-1]], self.records[count - 1].epsilon)
            else:
                self._exhibit()

    def _exhibit(self) -> None:
        if self.grown:
            self.exhibit.lay_out(self.grown[0], wish_of(self.grown[0]).true)

    def moving(self) -> list:
        rows = [part for rate, dots in self.rows.values() for part in (dots, *rate.parts)]
        return [*self.view.moving(), *rows]

    def _lay_out(self) -> None:
        self.figure.clear()
        self._exhibit()
        a, size = self.attack, font_size(self.figure, 8)
        wide, apart = (1.7, 0.55) if self.figure.large else (2.3, 0.32)  # room for large letters
        grid = self.figure.add_gridspec(
            2, 2, width_ratios=(wide, 1), left=0.08, right=0.985, top=0.86, bottom=0.13,
            hspace=0.65, wspace=apart,
        )  # fmt: skip
        epochs, adversarial = a.settings.recipe.epochs, wanted_by(a)
        left = self.figure.add_subplot(grid[:, 0])
        loss = loss_in_words(a.settings.method)
        self.view = LossView(left, max(len(self.steps), 1), epochs, adversarial, loss)
        self.rates = self.figure.add_subplot(grid[0, 1])
        self.levels = self.figure.add_subplot(grid[1, 1])
        tidy(self.rates, "", f"share that says {adversarial}")
        tidy(self.levels, "", "accuracy on others")
        for axes in (self.rates, self.levels):
            name_rows(axes, ARMS)
            axes.set_xlim(-0.03, 1.03)
        self.rows = {}
        for row, arm in enumerate(self._arms()):
            colour, marker, _ = LOOKS[arm]
            (dots,) = self.levels.plot([], [], marker, color=colour, alpha=0.6)
            self.rows[arm] = RateRow(self.rates, row, arm), dots
        self.figure.suptitle(shown(self.about), x=0.01, ha="left", fontsize=size)
        self.redraw_kept()

    def _count(self, counted: bool) -> None:
        """The victims, arm by arm, where they are counted by now."""
        for row, (arm, (rate, dots)) in enumerate(self.rows.items()):
            found = success_rate(self.victims, arm) if counted else None
            rate.show(found, diverged(self.victims, arm))
            levels = [r.accuracy for r in self.victims if r.arm == arm and not r.diverged]
            dots.set_data(levels * counted, [row] * len(levels) * counted)


def find(run: str | Path) -> Path:
    """The folder of a run, by its path or by the name of one that ships with mpkit."""
    for folder in (at(run), RECORDED / run):
        if (folder / "settings.json").is_file():
            return folder
    names = sorted(p.parent.name for p in RECORDED.glob("*/settings.json"))
    raise RecordError(
        f"{str(run)!r} is no run folder (it has no settings.json). Name a folder that "
        f"`mpkit attack` or Save wrote, or a run that ships: {', '.join(names) or 'none here'}"
    )


def _grown(folder: Path) -> tuple[Scenario, Frames] | None:
    """Some poisons of a run, at some steps, and the scenario with these alone; None where they, or
    the pictures that they were made of, are not here."""
    try:
        story = story_of(folder)
    except RecordError:  # the numbers can be seen all the same
        return None
    scenario, frames = story.scenario, story.frames
    if scenario and not frames and story.poisons is not None:
        every, none = tuple(range(len(story.poisons))), torch.empty(0)
        frames = Frames((len(story.steps),), every, story.poisons[None], none)
    if not (scenario and frames):
        return None
    bases = scenario.bases[list(frames.which)]
    return dataclasses.replace(scenario, bases=bases), frames


def _told(run: SavedRun) -> str:
    """What a run was, in one line."""
    attack, s = run.attack, run.attack.settings
    return (
        f"{run.title or Path(attack.data).name}, {attack.network}, "
        f"{s.bounds_in_words}, {s.how_in_words}, M = {s.models}, budget "
        f"{percent(attack.budget)}, {run.device or 'a machine that is not named'}"
    )
