"""DynamicsLab: what poisons do to a training run, beside its clean twin (slides 7–9)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from torch import Tensor

from mpkit.attack import Attack, make_attack, prepare
from mpkit.device import Plan, cores
from mpkit.evaluation import victim_seed
from mpkit.functional import State, init, own, stack
from mpkit.lab import pace
from mpkit.lab.codes import attack_code, attack_of
from mpkit.lab.controls import Number, levels
from mpkit.lab.panel import Lab, Question
from mpkit.lab.plane import losses_on
from mpkit.lab.runner import Phase
from mpkit.lab.stock import Stock, rescaled
from mpkit.lab.twinrecord import TwinRecord, measure
from mpkit.lab.twins import TwinsView
from mpkit.lab.views import show_guess
from mpkit.metapoison import CraftRecord, target_loss
from mpkit.training import train

CLEAN, POISONED = 0, 1


class DynamicsLab(Lab):
    """A victim and its clean twin, from the same weights and batches, trained in step.

    `source`: a `CraftLab` (its poisons at the start of a run), uint8 poisons (P, C, H, W), or None:
    the first run crafts some. ε acts mid-run: the victim goes on with the poisons' change rescaled.
    `given` as for `mpkit.attack.make_attack`. Raises ValueError for poisons that do not fit.
    """

    name, unit, lead = "dynamics", "step", 1

    def __init__(
        self,
        source=None,
        question: Question | None = None,
        large: bool = False,
        seed: int = 0,
        **given,
    ):
        self.stock, self.twin_seed = Stock(source, make_attack(**given)), seed
        self._prepare()
        self.epsilon: int | None = None
        self.records: list[TwinRecord] = []
        self.crafting: CraftRecord | None = None
        self.path: list[Tensor] = []
        self.view = TwinsView(self.ready.scenario, self.attack.victim_recipe.epochs, large)
        self.assemble(self.view.figure, self._controls(), question)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[CraftRecord | tuple[State, TwinRecord]]:
        with self.canvas.lock:
            if self._prepare():  # the CraftLab has another attack than when it was drawn
                self.view.lay_out(self.ready.scenario, self.attack.victim_recipe.epochs)
                self.redraw_kept()
        if self.stock.poisons() is None:
            yield from self.stock.craft(self.ready)
        # As they are now: a CraftLab may go on crafting while the twins train.
        self.poisons = self.stock.poisons()
        yield from self._train(self.poisons)

    def _train(self, poisons: Tensor) -> Iterator[tuple[State, TwinRecord]]:
        scenario, recipe = self.ready.scenario, self.attack.victim_recipe
        seed, used = victim_seed(self.attack.settings.seed, 5000 + self.twin_seed), {}

        def pictures(twin: int) -> Tensor:
            if twin == CLEAN:
                return scenario.train.x
            used["epsilon"] = self.epsilon  # read once an epoch: all its batches agree
            return scenario.poisoned(rescaled(scenario, poisons, used["epsilon"], self._strongest))

        plan = Plan(1, min(2, cores()))
        change = poisons.to(scenario.train.x.device).float() - 255 * scenario.base_images
        self._strongest = max(1, round(float(change.abs().max())))
        if self.epsilon is None:  # not chosen by hand: as strong as the poisons came
            self.epsilon = self._strongest
            self.controls["epsilon"].show(self.epsilon)
        network = self.ready.network
        start = stack([init(network, seed)] * 2).map(lambda t: t.to(scenario.train.x))
        yield start, measure(self.ready, start, 0, (float("nan"),) * 2, self.epsilon)
        data = scenario.train.x, scenario.train.y
        runs = train(network, *data, recipe, [seed] * 2, plan=plan, own_x=pictures)
        for state, record in runs:
            now = record.epoch, record.losses, used["epsilon"]
            yield state, measure(self.ready, state, *now)

    def take(self, item: CraftRecord | tuple[State, TwinRecord]) -> None:
        if isinstance(item, CraftRecord):
            self.crafting = item
            self.view.say(f"crafting first: step {item.step}")
            return
        self.state, record = item
        if self.records and record.epsilon != self.records[-1].epsilon and record.epoch > 1:
            before, now = 255 * self.records[-1].epsilon, 255 * record.epsilon
            self.mark(record.epoch - 0.5, f"ε {before:.0f} → {now:.0f}")
        self.records.append(record)
        self.path.append(self.view.flat(self.state))
        self.view.update(self.records, self.marks, self.path)
        poisons = rescaled(self.ready.scenario, self.poisons, 255 * record.epsilon, self._strongest)
        self.view.features(self.ready.network, self.state.pick(POISONED), poisons)
        if record.epoch == self.attack.victim_recipe.epochs:
            self._contours()

    def _contours(self) -> None:
        scenario, module = self.ready.scenario, own(self.ready.network)
        adversarial = target_loss(scenario, module, self.attack.settings)
        x, y = scenario.train.x[:200], scenario.train.y[:200]
        self.view.contours(losses_on(module, x, y, adversarial), self.state.pick(CLEAN))

    def clear(self) -> None:
        self.records, self.path, self.crafting = [], [], None
        if self.stock.source is not None:
            self.epsilon = None  # another run of the CraftLab may have made other poisons
        self._prepare()
        if self.epsilon is None:
            self.controls["epsilon"].show(levels(self.attack.settings.epsilon))
        self.view.lay_out(self.ready.scenario, self.attack.victim_recipe.epochs)
        self.redraw_kept()

    def total(self) -> int:
        waiting = self.stock.poisons() is None or self.crafting is not None
        return self.attack.victim_recipe.epochs + 1 + waiting * self.attack.settings.craft_steps

    def work(self) -> float:
        rows = len(self.ready.scenario.train)
        crafting = self.stock.poisons() is None and pace.crafting_work(self.attack, rows)
        return crafting + pace.training_work(self.attack, rows, 2)

    def curve(self):
        return [r.epoch for r in self.records], [r.wanted[POISONED] for r in self.records]

    def guessed(self) -> None:
        show_guess(self.view.guess, self.guess, "center right")

    def kept(self) -> None:
        self.view.compare([line for line in (self.ghost, *self.named) if line])

    def describe(self) -> str:
        scenario = self.ready.scenario
        names = scenario.train.classes
        true, wanted = names[scenario.target_labels[0]], names[scenario.adversarial[0]]
        if not self.records:
            return f"A clean and a poisoned twin; the target is {true}, wanted is {wanted}. " + (
                f"Crafting, step {self.crafting.step}." if self.crafting else "Nothing has run yet."
            )
        r = self.records[-1]
        twins = []
        for name, twin in (("clean", CLEAN), ("poisoned", POISONED)):
            said = (
                f"has accuracy {r.accuracies[twin]:.1%} and gives the target {true} "
                f"{r.true[twin]:.0%}, {wanted} {r.wanted[twin]:.0%}"
            )
            twins.append(f"the {name} twin {'has diverged' if r.diverged[twin] else said}")
        return (
            f"After epoch {r.epoch}, at epsilon {255 * r.epsilon:.0f}/255: {'; '.join(twins)}."
            + "".join(f" Changed at epoch {x + 0.5:.0f}: {text}." for x, text in self.marks)
        )

    # ── where data and poisons come from ──────────────────────────────────────────────────────

    @property
    def attack(self) -> Attack:
        """The attack whose twins these are."""
        return self.stock.attack

    def _prepare(self) -> bool:
        """Take the attack over as it is now: True where it is another one."""
        new = self.stock.refresh() or not hasattr(self, "ready")
        if new:
            self.ready = prepare(self.attack, progress=False, scenario=self.stock.scenario)
        return new

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> list:
        recipe = self.attack.victim_recipe
        self.controls = {
            "epsilon": Number(
                "ε (n/255)", round(255 * self.attack.settings.epsilon), 0, 64, self._turn, self.say
            ),
            "lr": Number(
                "learning rate",
                recipe.lr,
                0.01,
                0.5,
                lambda v: self._later(lr=v),
                self.say,
                step=0.01,
            ),
            "epochs": Number(
                "epochs", recipe.epochs, 1, 100, lambda v: self._later(epochs=v), self.say
            ),
            "seed": Number("seed of the twins", self.twin_seed, 0, 999, self._seed, self.say),
        }
        self.controls["epsilon"].show(levels(self.attack.settings.epsilon))
        return [c.widget for c in self.controls.values()]

    def _turn(self, epsilon: int) -> None:
        self.epsilon = epsilon
        if self.runner.phase in (Phase.RUNNING, Phase.PAUSING, Phase.PAUSED):
            self.say("From the next epoch on.")

    def _ready_only(self) -> None:
        if self.runner.phase is not Phase.READY:
            raise ValueError("That changes the whole run: ↺ first, and then change it.")

    def _later(self, **values: object) -> None:
        self._ready_only()
        recipe = dataclasses.replace(self.attack.victim_recipe, **values)
        self.stock.attack = dataclasses.replace(self.attack, victim_recipe=recipe)
        self.clear()
        self._tell()
        self.canvas.draw()

    def _seed(self, seed: int) -> None:
        self._ready_only()
        self.twin_seed = seed

    # ── sharing ───────────────────────────────────────────────────────────────────────────────

    def code(self) -> str:
        return attack_code(self.name, self.attack, seed=self.twin_seed, epsilon=self.epsilon)

    def use_code(self, code: str) -> None:
        self.stock.refuse_codes()
        attack, own = attack_of(self.name, code, seed=0, epsilon=None)
        if own["epsilon"] is not None and own["epsilon"] not in range(65):
            raise ValueError(f"ε must be a whole number from 0 to 64, not {own['epsilon']}")
        self.stock.attack, self.twin_seed = attack, own["seed"]
        self.clear()
        self.epsilon = own["epsilon"]
        epsilon = self.epsilon if self.epsilon is not None else levels(attack.settings.epsilon)
        recipe = attack.victim_recipe
        now = {"epsilon": epsilon, "lr": recipe.lr, "epochs": recipe.epochs}
        for name, value in (now | {"seed": self.twin_seed}).items():
            self.controls[name].show(value)
        self.canvas.draw()
