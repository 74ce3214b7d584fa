"""What labs share that stand on an attack: its settings, their controls, and their share codes."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from mpkit.lab.kit.codes import attack_of
from mpkit.lab.kit.panel import Lab
from mpkit.lab.kit.runner import Phase
from mpkit.recipe import Recipe
from mpkit.runs.attack import Attack
from mpkit.runs.share import attack_code
from mpkit.setting import settings_of
from mpkit.settings import Settings

ATTACK, CRAFTING, TRAINING = map(settings_of, (Attack, Settings, Recipe))
"""What is declared of a whole attack, of crafting, and of training."""


class AttackLab(Lab):
    """`attack` is what runs; `usual` are the lab's own settings in codes, and what they are where a
    code names none."""

    usual: ClassVar[dict[str, object]] = {}

    def now(self) -> Attack:
        """The attack as it would run now."""
        return self.attack

    def own(self) -> dict[str, object]:
        """The lab's own settings, as they are now."""
        return {}

    def adopt(self, attack: Attack, own: dict[str, object]) -> None:
        """Take over the settings of a code. Raises ValueError and changes nothing."""
        self.attack = attack

    def taken_out(self) -> None:
        """A poison is taken out for the next run's victims, or put back."""
        self.say("" if self.runner.phase is Phase.READY else "For the next run, after reset (↺).")
        self.redraw()

    def code(self) -> str:
        """A share code of the settings as they are now."""
        return attack_code(self.name, self.now(), **self.own())

    def use_code(self, code: str) -> None:
        """Take the settings of a code. Raises ShareError and ValueError."""
        self.adopt(*attack_of(self.name, code, **self.usual))
        self.waiting = {}
        self.start_over()


def recipe_changed(attack: Attack, **values: object) -> Attack:
    """The attack with its victims' recipe changed. Raises ValueError."""
    recipe = dataclasses.replace(attack.victim_recipe, **values)
    return dataclasses.replace(attack, victim_recipe=recipe)
