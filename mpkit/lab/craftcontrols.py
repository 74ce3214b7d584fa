"""CraftLab's sliders, menus and thumbnails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import ipywidgets as widgets
import torch

from mpkit.attack import Attack
from mpkit.finetuning import FINE_TUNE, WORDS
from mpkit.lab.controls import Choice, Number, Say, Thumbnails, levels
from mpkit.networks import NETWORKS
from mpkit.perturbation import PERTURBATIONS
from mpkit.scenario import Scenario

LATER = ("models", "seed", "perturbation")
"""Settings of Algorithm 1 that act after a reset."""


class CraftControls:
    """`live(name=value)` is told of what acts at the next step, `later(name=value)` of what acts
    after a reset, and `turn_page(n)` of the page of poisons, counted from 1."""

    def __init__(
        self,
        attack: Attack,
        scenario: Scenario,
        live: Callable[..., object],
        later: Callable[..., object],
        turn_page: Callable[[int], object],
        say: Say,
    ):
        s, names = attack.settings, scenario.train.classes
        faces = [scenario.train.x[scenario.train.rows_of(i)[0]] for i in range(len(names))]

        def number(label, value, low, high, turn, step=1):
            return Number(label, value, low, high, turn, say, step=step)

        self.live = {
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
            "epsilon_c": number(
                "ε_c, colour", s.epsilon_c, 0.01, 0.3, lambda v: live(epsilon_c=v), 0.01
            ),
        }
        self.page = number("page of poisons", 1, 1, 1, turn_page)
        self.later = {
            "perturbation": Choice(
                "change",
                list(PERTURBATIONS),
                s.perturbation,
                lambda v: later(perturbation=v),
                say,
            ),
            "models": number("surrogates", s.models, 1, 24, lambda v: later(models=v)),
            "poisons": number("poisons", 1, 1, 1, lambda v: later(budget=v / len(scenario.train))),
            "seed": number("seed", s.seed, 0, 999, lambda v: later(seed=v)),
            "fine_tune": Choice(
                "what trains",
                [(WORDS[t], t) for t in FINE_TUNE],
                attack.fine_tune,
                lambda v: later(fine_tune=v),
                say,
            ),
            "network": Choice(
                "network", list(NETWORKS), attack.network, lambda v: later(network=v), say
            ),
            "target_class": Thumbnails(
                "target",
                torch.stack(faces),
                names,
                0,
                lambda i: later(target_class=names[i]),
                say,
            ),
            "poison_class": Thumbnails(
                "poison class",
                torch.stack(faces),
                names,
                0,
                lambda i: later(poison_class=names[i]),
                say,
            ),
        }
        self.all = self.live | self.later

    def widgets(self) -> tuple[list[widgets.Widget], list[widgets.Widget]]:
        """Those that act at once, and those that act after a reset."""
        live = [*self.live.values(), self.page]
        return [c.widget for c in live], [c.widget for c in self.later.values()]

    def show(self, attack: Attack, scenario: Scenario, page: int, pages: int) -> None:
        """Set all of them to what is in force; only the bounds that act can be turned."""
        s, train = attack.settings, scenario.train
        poison = int(train.y[scenario.bases[0]])
        values = dataclasses.asdict(s) | {
            "epsilon": levels(s.epsilon),
            "poisons": len(scenario.bases),
            "fine_tune": attack.fine_tune,
            "network": attack.network,
            "target_class": int(scenario.target_labels[0]),
            "poison_class": poison,
        }
        self.all["poisons"].limit(1, len(train.rows_of(poison)), values["poisons"])
        self.page.limit(1, pages, page)
        for name, control in self.all.items():
            control.show(values[name])
        for name, idle in (("epsilon", "recolor"), ("epsilon_c", "additive")):
            self.all[name].enable(s.perturbation != idle)
