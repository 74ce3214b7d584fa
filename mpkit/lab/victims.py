"""VictimsLab: fresh victims arrive, and are counted (slides 10–11)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from mpkit.attack import make_attack, prepare
from mpkit.evaluation import (
    ARMS,
    VictimRecord,
    arm_pictures,
    judge,
    mean_accuracy,
    noise_poisons,
    predict,
    success_rate,
    victim_seed,
)
from mpkit.lab.canvas import BLUE, GREY, RED, font_size, new_figure
from mpkit.lab.controls import Choice, Number
from mpkit.lab.panel import Lab, Question
from mpkit.lab.runner import Phase
from mpkit.lab.views import ProbabilityView, tidy
from mpkit.metapoison import CraftRecord, craft, poisons_of
from mpkit.networks import NETWORKS
from mpkit.training import train

COLOURS = {"poisoned": RED, "clean": BLUE, "noise": GREY}
MARKERS = {"poisoned": "o", "clean": "s", "noise": "^"}


@dataclasses.dataclass(frozen=True)
class Arrival:
    """Some victims with their twins: their records, and the target's class probabilities (classes,)
    averaged over the poisoned ones."""

    records: tuple[VictimRecord, ...]
    probabilities: tuple[float, ...]


class VictimsLab(Lab):
    """Train fresh victims on poisons, and their twins on clean pictures and on noise; count.

    `source`: a `CraftLab`, whose poisons of the moment are taken at the start of a run; or uint8
    poisons (P, C, H, W); without either, the first run crafts some. `given` as for
    `mpkit.attack.make_attack`; with a CraftLab its attack is taken.
    """

    name, unit = "victims", "step"

    def __init__(
        self,
        source=None,
        question: Question | None = None,
        large: bool = False,
        victims: int | None = None,
        **given,
    ):
        self.source = source
        self.attack = make_attack(**given)
        self.wanted = victims or self.attack.victims
        self.arrivals: list[Arrival] = []
        self.crafted: Tensor | None = None
        self.crafting: CraftRecord | None = None
        self.figure = new_figure(9, 4.6, large)
        self._prepare()
        self._lay_out()
        self.assemble(self.figure, self._controls(), question, share=False)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[CraftRecord | Arrival]:
        self._prepare()
        if self._poisons() is None:
            yield from self._craft()
        poisons, ready, a = self._poisons(), self.ready, self.attack
        noise = noise_poisons(ready.scenario, a.settings.epsilon, a.settings.seed)
        stand_in = {"poisoned": poisons, "clean": None, "noise": noise}
        pictures = {arm: arm_pictures(ready.scenario, p) for arm, p in stand_in.items()}
        done = 0
        while done < self.wanted:
            some = range(done, min(done + 2, self.wanted))  # two keep two cores busy
            yield self._train(pictures, some)
            done = some.stop

    def _craft(self) -> Iterator[CraftRecord]:
        ready, settings = self.ready, self.attack.settings
        for state, record in craft(ready.scenario, ready.network, settings, None, ready.plan):
            if record.step == settings.craft_steps:
                self.crafted = poisons_of(ready.scenario, state, settings)
            yield record

    def _train(self, pictures: dict[str, Tensor], victims: range) -> Arrival:
        ready = self.ready
        arms = [(arm, v) for v in victims for arm in ARMS]
        seeds = [victim_seed(self.attack.settings.seed, v) for _, v in arms]
        *_, (state, _) = train(
            ready.victim_network, ready.scenario.train.x, ready.scenario.train.y,
            self.attack.victim_recipe, seeds, ready.victim_plan,
            own_x=[pictures[arm] for arm, _ in arms].__getitem__,
        )  # fmt: skip
        records = judge(ready.scenario, ready.victim_network, state, arms, ready.victim_plan)
        poisoned = state.pick(torch.arange(0, len(arms), len(ARMS)))
        logits = predict(
            ready.victim_network, poisoned, ready.scenario.targets[:1], ready.scenario.train.x
        )
        return Arrival(tuple(records), tuple(logits.softmax(-1).mean(0)[0].tolist()))

    def take(self, item: CraftRecord | Arrival) -> None:
        if isinstance(item, CraftRecord):
            self.crafting = item
            self.dots.set_title(self._crafting_words(), loc="left", fontsize=self.title_size)
            return
        self.arrivals.append(item)
        self._draw()

    def clear(self) -> None:
        self.arrivals, self.crafting = [], None
        self.figure.clear()
        self._prepare()
        self._lay_out()

    def total(self) -> int:
        crafting = 0 if self._poisons() is not None and not self.crafting else self._craft_steps()
        return crafting + -(-self.wanted // 2)

    def curve(self):
        return [], []

    # ── where the poisons come from ───────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        if hasattr(self.source, "attack"):
            live = self.source
            self.attack = dataclasses.replace(
                live.attack, settings=live.knobs(), victims=self.attack.victims,
                victim_recipe=self.attack.victim_recipe,
                victim_network=self.attack.victim_network,
            )  # fmt: skip
        key = dataclasses.replace(self.attack, victims=1)
        if getattr(self, "_key", None) != key:
            self._key, self.crafted = key, None
            self.ready = prepare(self.attack, progress=False)

    def _poisons(self) -> Tensor | None:
        if hasattr(self.source, "poisons"):
            return self.source.poisons() if self.source.records else self.crafted
        return self.source if self.source is not None else self.crafted

    def _craft_steps(self) -> int:
        return self.attack.settings.craft_steps

    # ── the picture ───────────────────────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        scenario, figure = self.ready.scenario, self.figure
        names = scenario.train.classes
        self.true, self.aim = int(scenario.target_labels[0]), int(scenario.adversarial[0])
        self.title_size = font_size(figure, 10)
        grid = figure.add_gridspec(
            2, 3, width_ratios=(4.2, 1.3, 2), height_ratios=(1, 1), left=0.1, right=0.975,
            top=0.92, bottom=0.12, hspace=0.55, wspace=0.35,
        )  # fmt: skip
        self.dots, self.rates = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        self.accuracy = figure.add_subplot(grid[1, 1:])
        face = figure.add_subplot(grid[0, 1])
        face.imshow(scenario.targets[0].cpu().permute(1, 2, 0).numpy(), cmap="gray", vmin=0, vmax=1)
        face.set_title(f"target: {names[self.true]}", fontsize=self.title_size)
        face.set_axis_off()
        self.bars = ProbabilityView(
            figure.add_subplot(grid[0, 2]), names, self.true, self.aim, "poisoned victims say"
        )
        self.clouds, self.points, self.spans, self.words, self.levels = {}, {}, {}, {}, {}
        for row, arm in enumerate(ARMS):
            look = {"color": COLOURS[arm], "marker": MARKERS[arm]}
            self.clouds[arm] = self.dots.scatter([], [], s=40, alpha=0.75, **look)
            (self.points[arm],) = self.rates.plot([], [], ls="", ms=7, **look)
            (self.spans[arm],) = self.rates.plot([], [], color=COLOURS[arm], lw=2.5)
            self.words[arm] = self.rates.text(
                0.5, row - 0.28, "", ha="center", va="center", fontsize=font_size(figure, 8)
            )
            self.levels[arm] = self.accuracy.scatter([], [], s=30, alpha=0.75, **look)
        self._axes(names)

    def _axes(self, names) -> None:
        tidy(self.dots, f"each victim: probability of {names[self.aim]} for the target")
        tidy(self.rates, "", f"share that calls the target {names[self.aim]}, 95 % interval")
        tidy(self.accuracy, "", "accuracy on other pictures")
        for axes in (self.dots, self.rates, self.accuracy):
            axes.set_yticks(range(len(ARMS)), ARMS, fontsize=font_size(self.figure, 8))
            axes.set_ylim(len(ARMS) - 0.5, -0.5)
            axes.set_xlim(-0.03, 1.03)
        self.guess_line = self.rates.axvline(-1, color=GREY, ls=":", lw=2)
        self.guessed()

    def _draw(self) -> None:
        records = self.records
        for row, arm in enumerate(ARMS):
            mine = [r for r in records if r.arm == arm]
            jitter = [row + 0.25 * ((r.victim * 0.618) % 1 - 0.5) for r in mine]
            self.clouds[arm].set_offsets(
                [(r.adversarial_probability[0], y) for r, y in zip(mine, jitter, strict=True)]
            )
            self.levels[arm].set_offsets(
                [(r.accuracy, y) for r, y in zip(mine, jitter, strict=True)]
            )
            found = success_rate(records, arm)
            self.points[arm].set_data([found.rate], [row])
            self.spans[arm].set_data([found.low, found.high], [row, row])
            self.words[arm].set_text(f"{found.successes} of {found.n}")
        low = min(r.accuracy for r in records)
        self.accuracy.set_xlim(max(0, low - 0.08), 1.0)
        parts = torch.tensor([a.probabilities for a in self.arrivals])
        self.bars.update(parts.mean(0).tolist())
        count = len(records) // len(ARMS)
        names = self.ready.scenario.train.classes
        self.dots.set_title(
            f"{count} victims: probability of {names[self.aim]} for the target",
            loc="left", fontsize=self.title_size,
        )  # fmt: skip

    @property
    def records(self) -> list[VictimRecord]:
        """All victims and twins so far."""
        return [r for a in self.arrivals for r in a.records]

    def _crafting_words(self) -> str:
        r = self.crafting
        return f"crafting first: step {r.step} of {self._craft_steps()}, loss {r.loss:.2f}"

    def guessed(self) -> None:
        guess = getattr(self, "guess", None)
        if guess is not None:
            x = guess / self.question.high
            self.guess_line.set_xdata([x, x])

    def describe(self) -> str:
        names = self.ready.scenario.train.classes
        about = f"Victims that are to call a picture of {names[self.true]} {names[self.aim]}. "
        if not self.arrivals:
            return about + (self._crafting_words() if self.crafting else "None has arrived yet.")
        lines = [
            f"{arm}: {success_rate(self.records, arm)}, accuracy "
            f"{mean_accuracy(self.records, arm):.1%}"
            for arm in ARMS
        ]
        guess = "" if self.guess is None else f" The guess was {self.guess}."
        return about + "; ".join(lines) + "." + guess

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> list:
        a, r = self.attack, self.attack.victim_recipe
        self.controls = {
            "victims": Number("victims", self.wanted, 1, 64, self._more, self.say),
            "network": Choice(
                "victims' network", list(NETWORKS), a.victim_network or a.network,
                lambda v: self._later(victim_network=v), self.say,
            ),
            "epochs": Number(
                "victims' epochs", r.epochs, 1, 100, lambda v: self._recipe(epochs=v), self.say
            ),
            "lr": Number(
                "learning rate", r.lr, 0.01, 0.5, lambda v: self._recipe(lr=v), self.say, 0.01
            ),
            "batch": Number("batch", r.batch, 5, 250, lambda v: self._recipe(batch=v), self.say),
            "augment": Choice(
                "augmentation", ["no", "yes"], "yes" if r.augment else "no",
                lambda v: self._recipe(augment=v == "yes"), self.say,
            ),
        }  # fmt: skip
        return [c.widget for c in self.controls.values()]

    def _more(self, count: int) -> None:
        done = len(self.records) // len(ARMS)
        if count < done:
            raise ValueError(f"{done} victims have arrived already: not fewer than that.")
        self.wanted = count

    def _recipe(self, **values: object) -> None:
        self._later(victim_recipe=dataclasses.replace(self.attack.victim_recipe, **values))

    def _later(self, **values: object) -> None:
        if self.runner.phase is not Phase.READY:
            raise ValueError("That acts on all victims alike: ↺ first, and then change it.")
        self.attack = dataclasses.replace(self.attack, **values)
