"""CraftLab: Algorithm 1 live (paper, Algorithm 1; slides 5–6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import ipywidgets as widgets
import torch

from mpkit.attack import Attack, from_dict, load_scenario, make_attack, prepare, to_dict
from mpkit.evaluation import predict
from mpkit.lab.canvas import new_figure
from mpkit.lab.controls import Choice, Number, Thumbnails
from mpkit.lab.knobs import Knobs
from mpkit.lab.panel import Lab, Question
from mpkit.lab.runner import Phase
from mpkit.lab.save import save_run
from mpkit.lab.share import decode, differences, encode, merged
from mpkit.lab.victim import VictimNow
from mpkit.lab.views import LossView, ProbabilityView, StripView
from mpkit.metapoison import CraftRecord, CraftState, craft, poisons_of
from mpkit.networks import NETWORKS, network

GUESS = Question("How many of 8 fresh victims will call the target what you want?", 0, 8, 4)


class CraftLab(Lab):
    """Craft poisons while you watch, and turn ε and K while it runs.

    `given`: as for `mpkit.attack.make_attack`. `large` is for lecture rooms.
    """

    name, unit, can_save = "craft", "craft step", True

    def __init__(self, question: Question | None = None, large: bool = False, **given):
        self.attack = make_attack(**given)
        self.knobs = Knobs(self.attack.settings)
        self.records: list[CraftRecord] = []
        self.state: CraftState | None = None
        self._load()
        self.figure = new_figure(9, 5.6, large)
        self._lay_out()
        self.victim = VictimNow(self, large)
        live, later = self._controls()
        self.assemble(self.figure, live, question, below=[self.victim.widget], later=later)

    # ── what runs ─────────────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator[tuple[CraftState, CraftRecord]]:
        attack = dataclasses.replace(self.attack, settings=self.knobs())
        self.ready = ready = prepare(attack, progress=False, scenario=self.scenario)
        return craft(ready.scenario, ready.network, self.knobs, None, ready.plan)

    def take(self, item: tuple[CraftState, CraftRecord]) -> None:
        self.state, record = item
        for text in changes(self.records[-1] if self.records else None, record):
            self.mark(record.step - 0.5, text)
        self.records.append(record)
        self._draw()

    def clear(self) -> None:
        self.records, self.state = [], None
        self._apply_waiting()
        self.victim.clear()
        self.figure.clear()
        self._lay_out()

    def total(self) -> int:
        return self.knobs().craft_steps

    def curve(self):
        return [r.step for r in self.records], [r.loss for r in self.records]

    def describe(self) -> str:
        s, scenario = self.knobs(), self.scenario
        names = scenario.train.classes
        target, wanted = names[scenario.target_labels[0]], names[scenario.adversarial[0]]
        about = (
            f"Crafting {len(scenario.bases)} poisons so that a picture of {target} is called "
            f"{wanted}; epsilon {255 * s.epsilon:.0f}/255, K {s.unroll_steps}. "
        )
        if not self.records:
            return about + "Nothing has run yet."
        r = self.records[-1]
        p = self.probabilities
        return about + (
            f"After craft step {r.step} the mean adversarial loss is {r.loss:.2f}; it was "
            f"{self.records[0].loss:.2f} at first. The surrogates give {target} "
            f"{p[scenario.target_labels[0]]:.0%} and {wanted} {p[scenario.adversarial[0]]:.0%}."
            + "".join(f" Changed at step {x + 0.5:.0f}: {text}." for x, text in self.marks)
        )

    # ── the picture ───────────────────────────────────────────────────────────────────────────

    def moving(self) -> list:
        return [*self.losses.moving(), *self.bars.bars, self.strip.image]

    def _load(self) -> None:
        scenario = self.scenario = load_scenario(self.attack, progress=False)
        names = scenario.train.classes
        chosen = {"target_class": names[scenario.target_labels[0]]}
        if self.attack.goal == "targeted":
            chosen["poison_class"] = names[scenario.train.y[scenario.bases[0]]]
        # By name from now on: what was a default must not follow the other choice around.
        self.attack = dataclasses.replace(self.attack, **chosen)

    def _lay_out(self) -> None:
        scenario, names = self.scenario, self.scenario.train.classes
        true, wanted = int(scenario.target_labels[0]), int(scenario.adversarial[0])
        grid = self.figure.add_gridspec(
            2, 3, width_ratios=(5, 1.5, 1.5), height_ratios=(3, 2), left=0.075, right=0.985,
            top=0.94, bottom=0.03, hspace=0.32, wspace=0.22,
        )  # fmt: skip
        self.losses = LossView(
            self.figure.add_subplot(grid[0, 0]), self.total(), self.attack.settings.recipe.epochs,
            names[wanted],
        )  # fmt: skip
        face = self.figure.add_subplot(grid[0, 1])
        picture = scenario.targets[0].cpu().permute(1, 2, 0).numpy()
        face.imshow(picture, cmap="gray", vmin=0, vmax=1)
        face.set_title(f"target: {names[true]}", fontsize=self.losses.axes.title.get_fontsize())
        face.set_axis_off()
        self.bars = ProbabilityView(
            self.figure.add_subplot(grid[0, 2]), names, true, wanted, "what surrogates say"
        )
        self.strip = StripView(self.figure.add_subplot(grid[1, :]), scenario.base_images, 10)
        self.strip.update(scenario.base_images, self.knobs().epsilon)
        if hasattr(self, "ghost"):
            self.kept()

    def _draw(self) -> None:
        state, settings = self.state, self.knobs()
        self.losses.update(self.records, self.marks)
        logits = predict(self.ready.network, state.surrogates, self.ready.scenario.targets[:1])
        self.probabilities = logits.softmax(-1).mean(0)[0].tolist()
        self.bars.update(self.probabilities)
        self.show_strip(settings.epsilon)

    def show_strip(self, epsilon: float) -> None:
        """The page of poisons that is turned to."""
        if self.state is None:
            return self.strip.update(self.scenario.base_images, epsilon)
        self.strip.update(self.poisons().float() / 255, self.records[-1].epsilon)

    def poisons(self) -> torch.Tensor:
        """The poisons of this moment, as 8-bit pictures."""
        settings = dataclasses.replace(self.knobs(), epsilon=self.records[-1].epsilon)
        return poisons_of(self.ready.scenario, self.state, settings)

    def kept(self) -> None:
        self.losses.compare([line for line in (self.ghost, *self.named) if line])

    # ── controls ──────────────────────────────────────────────────────────────────────────────

    def _controls(self) -> tuple[list[widgets.Widget], list[widgets.Widget]]:
        """Those that act at once, and those that act after a reset."""
        s, train, names = self.attack.settings, self.scenario.train, self.scenario.train.classes
        live, later, number = self._turn, self._later, self._number
        true, poison = int(self.scenario.target_labels[0]), int(train.y[self.scenario.bases[0]])
        faces = torch.stack([train.x[train.rows_of(i)[0]] for i in range(len(names))])
        self.waiting: dict[str, object] = {}
        self.controls = {
            "epsilon": number(
                "ε (n/255)", round(255 * s.epsilon), 1, 64, lambda v: live(epsilon=v / 255)
            ),
            "unroll_steps": number(
                "K, steps ahead", s.unroll_steps, 1, 8, lambda v: live(unroll_steps=v)
            ),
            "craft_rate": number(
                "crafting step (of ε)", s.craft_rate, 0.01, 1, lambda v: live(craft_rate=v), 0.01
            ),
            "craft_steps": number(
                "craft steps", s.craft_steps, 1, 200, lambda v: live(craft_steps=v)
            ),
            "models": number("surrogates", s.models, 1, 24, lambda v: later(models=v)),
            "poisons": number(
                "poisons", len(self.scenario.bases), 1, len(train.rows_of(poison)),
                lambda v: later(budget=v / len(train)),
            ),
            "seed": number("seed", s.seed, 0, 999, lambda v: later(seed=v)),
            "network": Choice(
                "network", list(NETWORKS), self.attack.network, lambda v: later(network=v), self.say
            ),
            "target_class": Thumbnails(
                "target", faces, names, true, lambda i: later(target_class=names[i]), self.say
            ),
            "poison_class": Thumbnails(
                "poison class", faces, names, poison, lambda i: later(poison_class=names[i]),
                self.say,
            ),
        }  # fmt: skip
        self.page = number("page of poisons", 1, 1, self.strip.pages, self._page)
        shown = [c.widget for c in self.controls.values()]
        return [*shown[:4], self.page.widget], shown[4:]

    def _number(self, label: str, value: float, low: float, high: float, turn, step=1) -> Number:
        return Number(label, value, low, high, turn, self.say, step)

    def _turn(self, **values: object) -> None:
        """A setting that acts at the next step."""
        self.knobs.turn(**values)
        if self.runner.phase in (Phase.RUNNING, Phase.PAUSING):
            self.say("From the next step on.")

    def _later(self, **values: object) -> None:
        """A setting that acts after a reset: checked now, taken over at once if nothing runs."""
        _check(_with(self.attack, self.waiting | values))
        self.waiting |= values
        if self.runner.phase is Phase.READY:
            self.clear()
            self.canvas.draw()
        else:
            self.say("After reset (↺).")

    def _apply_waiting(self) -> None:
        attack = _with(self.attack, self.waiting)
        settings = dataclasses.replace(
            self.knobs(), models=attack.settings.models, seed=attack.settings.seed
        )
        self.attack, self.waiting = dataclasses.replace(attack, settings=settings), {}
        self.knobs.put(settings)
        self._load()

    def _page(self, page: int) -> None:
        with self.canvas.lock:
            self.strip.page = page - 1
            self.show_strip(self.knobs().epsilon)
        self.canvas.draw()

    # ── keeping and sharing ───────────────────────────────────────────────────────────────

    def save(self) -> Path:
        return save_run(self)

    def code(self) -> str:
        attack = dataclasses.replace(self.attack, settings=self.knobs())
        return encode(self.name, differences(to_dict(attack), to_dict(Attack())))

    def use_code(self, code: str) -> None:
        try:
            attack = from_dict(merged(to_dict(Attack()), decode(self.name, code)))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"This code holds settings that do not fit: {error}") from error
        _check(attack)
        self.attack = attack
        self.knobs.put(attack.settings)
        self.clear()
        self.canvas.draw()


def changes(before: CraftRecord | None, now: CraftRecord) -> list[str]:
    """What changed from one record to the next, in words."""
    if before is None:
        return []
    found = []
    if now.epsilon != before.epsilon:
        found.append(f"ε {255 * before.epsilon:.0f} → {255 * now.epsilon:.0f}")
    if now.unroll_steps != before.unroll_steps:
        found.append(f"K {before.unroll_steps} → {now.unroll_steps}")
    if now.epsilon_c != before.epsilon_c:
        found.append(f"ε_c {before.epsilon_c:.2f} → {now.epsilon_c:.2f}")
    return found


def _check(attack: Attack) -> None:
    """Raises ValueError for an attack that cannot be run."""
    train = load_scenario(attack, progress=False).train
    network(attack.network, train.shape, len(train.classes))


def _with(attack: Attack, values: dict) -> Attack:
    """The attack with some fields of its own, or of its settings, replaced."""
    inside = {k: v for k, v in values.items() if k in ("models", "seed")}
    own = {k: v for k, v in values.items() if k not in inside}
    return dataclasses.replace(
        attack, settings=dataclasses.replace(attack.settings, **inside), **own
    )
