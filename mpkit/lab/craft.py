"""CraftLab: Algorithm 1 live (paper, Algorithm 1; slides 5–6)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mpkit.evaluation.margins import known_margins
from mpkit.evaluation.rates import percent
from mpkit.evaluation.targets import aimed, chosen
from mpkit.evaluation.victims import asking
from mpkit.lab.craft_aim import Aiming
from mpkit.lab.craft_controls import LATER, changed, craft_controls, show_crafting
from mpkit.lab.craft_victim import VictimNow
from mpkit.lab.craft_view import CraftView
from mpkit.lab.kit import pace
from mpkit.lab.kit.attack_lab import CRAFTING, AttackLab
from mpkit.lab.kit.codes import check
from mpkit.lab.kit.knobs import Knobs
from mpkit.lab.kit.panel import Question
from mpkit.lab.kit.runner import Phase, Put
from mpkit.lab.kit.touch import Exhibit, filmed, said_of
from mpkit.lab.kit.views import marks_told
from mpkit.lab.target_picker import TargetPicker
from mpkit.lab.wish import wish_of
from mpkit.metapoison import CraftRecord, CraftState, Pull, poisons_of
from mpkit.runs import record
from mpkit.runs.attack import Attack
from mpkit.runs.bases import based
from mpkit.runs.folder import begin, hold, name_of
from mpkit.runs.frames import FrameKeeper
from mpkit.runs.idle import make_attack
from mpkit.runs.prepared import (
    clean_setup,
    loaded_at_once,
    prepare,
    resolved,
)
from mpkit.runs.scale import BY_METHOD
from mpkit.runs.story import Story
from mpkit.setting import changes
from mpkit.settings import Settings, loss_in_words


class Moment(NamedTuple):
    """A craft step to be shown again: how many records there were, the settings it was made with,
    what the surrogates gave the target (classes,), the poisons, uint8 (P, C, H, W), and what moved
    them last (see `filmed`)."""

    count: int
    used: Settings
    probabilities: list[float]
    poisons: Tensor
    pull: Pull


class CraftLab(Aiming, AttackLab):
    """Craft poisons while you watch, and turn ε and K while it runs.

    `given`: as for `mpkit.make_attack`. `large` is for lecture rooms.
    """

    name, unit = "craft", "craft step"

    def __init__(self, question: Question | None = None, large: bool = False, **given):
        self.attack = make_attack(**given)
        self.knobs = Knobs(self.attack.settings)
        self.records: list[CraftRecord] = []
        self.state: CraftState | None = None
        self.view, self.exhibit = CraftView(large), Exhibit(self.say, self.redraw)
        self.page = self.exhibit.page
        self.picker = TargetPicker(self._pick, self.say)
        self._load()
        self._lay_out()
        self.victim = VictimNow(self, large)
        live, later = craft_controls(self.attack, self.scenario, self.turn, self.later, self.say)
        self.controls = live | later
        self.assemble(
            self.view.figure,
            [c.widget for c in live.values()],
            question,
            below=[self.victim.widget],
            later=[c.widget for c in later.values()],
            pictures=[self.exhibit.widget, self.picker.widget],
        )
        self._aim_later()

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[tuple[CraftState, CraftRecord, Settings]]:
        while self.aimer and self.aimer.is_alive():  # it finds the target; this rests when asked
            yield Put()
            time.sleep(0.05)
        attack, scenario = self.attack, self.scenario
        if attack.target_index is None:
            index = self._found(attack, scenario)
            yield Put(lambda: self._aim(attack, index))
            attack = dataclasses.replace(attack, target_index=index)
            scenario = aimed(scenario, index)
        attack = dataclasses.replace(attack, settings=self.knobs())
        ready = prepare(attack, progress=False, scenario=scenario)
        target = ready.scenario.targets[:1]
        ask = asking(ready.network, target, ready.scenario.train.x)
        yield self.put(ready=ready, ask=ask)
        begun = []

        def settings() -> Settings:  # of the step that begins
            begun[:] = [self.knobs()]
            return begun[0]

        for state, step in ready.craft(settings=settings, tell=self.within()):
            yield state, step, begun[0]

    def take(self, item: tuple[CraftState, CraftRecord, Settings]) -> None:
        self.state, record, begun = item
        for text in changes(self.used, begun, CRAFTING.values()) if self.records else ():
            self.mark(record.step - 0.5, text)
        self.used = begun  # of the last step, whatever has been turned since
        self.records.append(record)

    def clear(self) -> None:
        self.records, self.state = [], None
        self._load()
        self.victim.clear()
        self._lay_out()
        self._aim_later()

    def total(self) -> int:
        return self.knobs().craft_steps

    def work(self) -> float:
        return pace.crafting_work(self.now(), len(self.scenario.train))

    def pictures(self):
        return self.scenario.train

    def curve(self):
        return [r.step for r in self.records], [r.loss for r in self.records]

    def describe(self) -> str:
        moment, scenario = self.seen, self.scenario
        s, wish = moment.used if moment else self.knobs(), wish_of(scenario)
        about = (
            f"Crafting {len(scenario.bases)} poisons so that a picture of {wish.true} is called "
            f"{wish.wanted}; {s.bounds_in_words}, {s.how_in_words}. "
        )
        if not moment:
            return about + "Nothing has run yet."
        r, p = self.records[moment.count - 1], moment.probabilities
        loss = loss_in_words(s.method)
        return (
            about
            + (
                f"After craft step {r.step} the mean {loss} is {r.loss:.2f}; it was "
                f"{self.records[0].loss:.2f} at first. The surrogates say {wish.true} "
                f"with {percent(p[wish.label], 0)} and {wish.wanted} with {percent(wish.of(p), 0)}."
            )
            + marks_told(self.marks, "step", r.step)
            + self.exhibit.describe()
        )

    # ── the picture ───────────────────────────────────────────────────────────────────────────

    def moving(self) -> list:
        return self.view.moving()

    def _load(self) -> None:
        attack, self.scenario = loaded_at_once(self.attack)
        index = attack.target_index  # None as long as clean models have not found it
        self.attack = dataclasses.replace(resolved(attack, self.scenario), target_index=index)

    def _lay_out(self) -> None:
        s = self.knobs()
        self.scenario = based(self.attack, self.scenario)
        self.view.lay_out(self.scenario, self.total(), s.recipe.epochs, s.method)
        self.exhibit.lay_out(self.scenario, wish_of(self.scenario).true)
        self.redraw_kept()

    def frame(self) -> Moment:
        said = self.ask(self.state.surrogates).softmax(-1).mean(0)[0].tolist()
        return Moment(len(self.records), self.used, said, self.poisons(), filmed(self.state.pull))

    def show_frame(self, frame: Moment) -> None:
        said = frame.probabilities
        records = self.so_far(self.records, frame.count)
        self.view.update(records, self.marks, said, frame.count)
        called = said_of(self.scenario.train.classes, said)
        self.exhibit.show(frame.poisons, frame.used.epsilon, frame.pull, called)

    def poisons(self) -> Tensor:
        """The poisons of this moment, as 8-bit pictures within the bounds of the last step."""
        return poisons_of(self.ready.scenario, self.state, self.used)

    def end(self, timeout: float | None = None) -> None:
        self.picker.close()
        self.victim.runner.close(timeout)
        self.victim.canvas.stop(timeout)
        super().end(timeout)

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def show_controls(self) -> None:
        now = self.now()
        show_crafting(self.controls, now, self.scenario)
        self.picker.show(now, self.scenario)

    def together(self, values: dict[str, object]) -> dict[str, object]:
        if {"target_class", "poison_class"} & values.keys():
            values["target_index"] = None  # a number among others: the rule takes one of these
        other = {"network": "fine_tune", "fine_tune": "network"}  # the last word says both
        kept = {k: v for k, v in self.waiting.items() if k not in map(other.get, values)}
        return kept | values

    def check(self, values: dict[str, object]) -> None:
        check(changed(self.attack, values))

    def apply(self, values: dict[str, object]) -> None:
        attack = changed(self.attack, values)
        settings = attack.settings
        if attack.fine_tune == self.attack.fine_tune:  # else it brings its own, all of them
            method = BY_METHOD if settings.method != self.attack.settings.method else ()
            mine = {name: getattr(settings, name) for name in (*LATER, "recipe", *method)}
            settings = dataclasses.replace(self.knobs(), **mine)
        self.attack = dataclasses.replace(attack, settings=settings)
        self.knobs.put(settings)

    def _pick(self, index: int) -> None:
        """Another picture of the target's class. Raises ValueError where that is to change."""
        if {"target_class", "poison_class"} & self.waiting.keys():
            raise ValueError("The classes change after reset: ↺ first, and then pick a picture.")
        if self.runner.phase is not Phase.READY:
            self.waiting = {**self.waiting, "target_index": (index,)}
            return self.say("After reset (↺).")
        self.waiting = {k: v for k, v in self.waiting.items() if k != "target_index"}
        with self.canvas.lock, self.lock:  # nothing need be loaded for it
            self.attack = dataclasses.replace(self.attack, target_index=(index,))
            self.scenario = aimed(self.scenario, (index,))
            self._lay_out()
        self.show_controls()
        self.redraw()

    # ── keeping and sharing ───────────────────────────────────────────────────────────────

    def save(self, parent: Path = Path("runs")) -> Path:
        """Write what was crafted so far into a new folder, with the settings of the moment;
        `mpkit attack --resume` goes on from it.

        Raises ValueError while there is nothing to save, and OSError where nothing can be written.
        """
        with self.lock:  # no step is taken over meanwhile
            state, records = self.state, list(self.records)
            poisons = self.poisons() if records else None
        if state is None:
            raise ValueError("There is nothing to save yet: ▶ first.")
        attack = dataclasses.replace(self.ready.attack, settings=self.knobs())
        ready = dataclasses.replace(self.ready, attack=attack)
        margins = known_margins(clean_setup(attack, ready.scenario))
        targets = chosen(ready.scenario, margins) if margins else []
        folder = record.new_folder(parent / name_of(attack))
        with hold(folder):  # nobody goes on with what is not whole yet
            begin(ready, targets, out=folder)
            record.append(folder / "records.jsonl", records)
            record.save_state(folder, state)
            record.save_poisons(folder, poisons, ready.scenario.bases)
        return folder

    def story(self) -> Story:
        """The run so far, with the victims that were trained on the poisons as they are now. Raises
        ValueError while there is nothing to tell."""
        with self.lock:
            records, moments = list(self.records), list(self.film.frames.values())
        if not records:
            raise ValueError("There is nothing to tell yet: ▶ first.")
        keeper = FrameKeeper(self.ready.scenario)
        for moment in moments:
            keeper.add(moment.count, moment.poisons)
        attack = dataclasses.replace(self.ready.attack, settings=moments[-1].used)
        return Story(
            attack,
            self.ready.scenario,
            records,
            moments[-1].poisons,
            self.victim.of(len(records)),
            keeper.frames(),
            code=self.code(),
        )

    def now(self) -> Attack:
        return changed(dataclasses.replace(self.attack, settings=self.knobs()), self.waiting)

    def adopt(self, attack: Attack, own: dict[str, object]) -> None:
        self.attack = attack
        self.knobs.put(attack.settings)
