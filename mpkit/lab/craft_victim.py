"""A victim and its clean twin trained beside the crafting, on the poisons of this very moment."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from typing import NamedTuple

import ipywidgets as widgets
import torch

from mpkit.device import Plan, cores
from mpkit.evaluation.rates import percent
from mpkit.evaluation.records import VictimRecord
from mpkit.evaluation.victims import arm_pictures, judge, victim_seed
from mpkit.evaluation.why import why
from mpkit.lab.kit.canvas import BLUE, RED, Canvas, new_figure
from mpkit.lab.kit.film import Filming
from mpkit.lab.kit.legends import hold, legend
from mpkit.lab.kit.letters import shown
from mpkit.lab.kit.notes import Note, beside
from mpkit.lab.kit.runner import Runner
from mpkit.lab.kit.views import Playhead, tidy
from mpkit.lab.wish import wish_of
from mpkit.runs.facts import facts_of
from mpkit.training import train


class Point(NamedTuple):
    """After an epoch: what the victim gives the target's own class and what is wanted, and the
    accuracy on other pictures of the victim and of its clean twin; NaN of what diverged. And both,
    as they are judged."""

    epoch: int
    true: float
    wanted: float
    accuracy: float
    clean: float
    judged: tuple[VictimRecord, ...] = ()


class VictimNow(Filming):
    """A button, and two small plots: what a fresh victim calls the target, epoch by epoch, and its
    validation accuracy beside that of a clean twin from the same initial weights. It trains on the
    poisons that the lab shows, be they of an earlier step."""

    unit = "epoch"

    def __init__(self, lab, large: bool = False):
        """`lab` is a CraftLab."""
        self.lab, self.count = lab, 0
        self.figure = new_figure(9, 1.9, large)
        self.axes = self.figure.add_axes((0.075, 0.28, 0.5, 0.56))
        self.levels = self.figure.add_axes((0.655, 0.28, 0.33, 0.56))
        self.canvas = Canvas(self.figure, self.describe, moving=self.moving)
        self.runner = Runner(self.played, self.take, self._changed)
        self.button = widgets.Button(
            description="Train a victim on these poisons now",
            layout=widgets.Layout(width="auto", flex="0 0 auto"),
        )
        self.button.on_click(lambda _: self.start())
        self.words = widgets.HTML()
        self.note = Note()
        self.make_film()
        row = widgets.HBox([self.button, self.words])
        self.widget = widgets.VBox([row, self.note, self.bar, self.canvas.widget])
        self._forget()
        self.canvas.draw()

    def start(self) -> None:
        if not self.lab.records:
            with beside(self.note):
                return self.lab.say("There are no poisons yet: ▶ or ⏭ first.")
        self.note.tell("")
        with self.lab.lock:  # all of one step
            ready, moment = self.lab.ready, self.lab.film.seen
            step, poisons = self.lab.records[moment.count - 1].step, moment.poisons
            self.crafted = self.lab.records[: moment.count]
            pictures = arm_pictures(ready.scenario, poisons)
            without, left_out = self.lab.exhibit.now()
            self._run = ready, without(ready.scenario, pictures)
        self.step = f"craft step {step} of {max(step, self.lab.total())}{left_out}"
        self.count += 1
        self.runner.reset()
        with self.canvas.lock, self.lock:
            self._lay_out()
        self.runner.run()

    def items(self) -> Iterator[Point]:
        ready, pictures = self._run
        wish = wish_of(ready.scenario)
        scenario, attack, network = ready.scenario, ready.attack, ready.victim_network
        seed = victim_seed(attack.settings.seed, 1000 + self.count)
        sources = (pictures, scenario.train.x)
        y = torch.stack([scenario.poisoned_labels, scenario.train.y])
        data, plan = (scenario.train.x, y), Plan(1, min(2, cores()))
        seeds, seen = [seed] * 2, sources.__getitem__
        breath = self.runner.breath()
        given = {"plan": plan, "own_x": seen, "tell": lambda *_: breath()}
        runs = train(network, *data, attack.victim_recipe, seeds, **given)
        for state, record in runs:
            arms = [("poisoned", self.count), ("clean", self.count)]
            victim, twin = judge(scenario, network, state, arms, other=False)
            true, adversarial = victim.true_probability[0], victim.adversarial_probability[0]
            said = (true, adversarial, victim.accuracy, twin.accuracy)
            true, adversarial, *levels = (math.nan if p is None else p for p in said)
            yield Point(record.epoch, true, wish.chance(true, adversarial), *levels, (victim, twin))

    def take(self, item: Point) -> None:
        with self.lock:
            self.points.append(item)
            if item.epoch == self._run[0].attack.victim_recipe.epochs:
                self._done(item)
            self.keep_frame(item.epoch)
        self.show_later()

    def _done(self, item: Point) -> None:
        """The victim is trained: why it did not do what it should, if it did not."""
        ready = self._run[0]
        self.reason = why(facts_of(ready.attack, self.crafted, item.judged, ready.scenario))
        if not self.lab.exhibit.left_out:
            self.trained.append((len(self.crafted), item.judged))

    def of(self, count: int) -> list[VictimRecord]:
        """The victims and twins that were trained on all poisons of so many craft steps."""
        return [r for crafted, judged in self.trained if crafted == count for r in judged]

    def moving(self) -> list:
        heads = [part for head, _ in self.heads for part in head.parts]
        return [*heads, *self.lines.values()]

    def frame(self) -> int:
        return len(self.points)

    def show_frame(self, frame: int) -> None:
        points = self.so_far(self.points, frame)
        epochs = [p.epoch for p in points]
        for name, line in self.lines.items():
            line.set_data(epochs[:frame], [getattr(p, name) for p in points[:frame]])
        for head, name in self.heads:
            head.put(epochs, [getattr(p, name) for p in points], frame)

    def describe(self) -> str:
        if not self.seen:
            return "No victim has been trained yet."
        p = self.points[self.seen - 1]
        about = f"A victim trained on the poisons of {self.step}: after epoch {p.epoch} "
        wish = wish_of(self.lab.scenario)
        reason = f" {self.reason}" if self.reason and self.seen == len(self.points) else ""
        if math.isnan(p.accuracy):
            words = f"it has diverged; its clean twin's accuracy is {percent(p.clean)}."
            return about + words + reason
        return about + (
            f"it gives {wish.true}, the target's own class, {percent(p.true, 0)} and "
            f"{wish.wanted} {percent(p.wanted, 0)}; its accuracy on other pictures is "
            f"{percent(p.accuracy)}, "
            f"its clean twin's {percent(p.clean)}.{reason}"
        )

    def clear(self) -> None:
        """Forget the victim."""
        self._forget()
        self.redraw()

    def _forget(self) -> None:
        self.runner.reset()  # it waits for who waits for the canvas: before the locks
        with self.canvas.lock, self.lock:
            self.trained: list[tuple[int, tuple[VictimRecord, ...]]] = []
            self.count, self.words.value = 0, ""
            self._lay_out()

    def complain(self, text: str) -> None:
        self.note.tell(text, bad=True)

    def _lay_out(self) -> None:
        self.points: list[Point] = []
        self.reason = ""
        self.no_film()
        wish = wish_of(self.lab.scenario)
        about = f" ({self.step})" if self.count else ""
        self.lines, self.heads = {}, []
        looks = (
            (
                self.axes,
                f"a fresh victim on the target{about}",
                {"true": wish.true, "wanted": wish.wanted},
            ),
            (self.levels, "accuracy on others", {"clean": "clean twin", "accuracy": "victim"}),
        )
        for axes, title, parts in looks:
            axes.clear()
            tidy(axes, title, "epoch")
            for (name, label), colour, style in zip(
                parts.items(), (BLUE, RED), ("--", "-"), strict=True
            ):
                look = {"color": colour, "ls": style, "lw": 2, "label": shown(label)}
                (self.lines[name],) = axes.plot([], [], **look)
            self.heads.append((Playhead(axes), name))
            axes.set(xlim=(0, self.lab.attack.victim_recipe.epochs), yticks=(0, 0.5, 1))
            hold(axes, -0.03, 1.03)
            legend(axes)

    def _changed(self) -> None:
        if not hasattr(self, "runner"):
            return
        self.button.disabled = self.runner.phase.value in ("running", "stopping")
        if self.runner.error:
            self.note.tell(f"The victim failed: {self.runner.error}", bad=True)
        self._tell()
        if self.runner.phase.ended:
            self.canvas.draw()

    def _tell(self) -> None:
        if self.runner.phase.ended:
            self.words.value = html.escape(self.describe())
