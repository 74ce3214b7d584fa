"""How CraftLab finds its target, where the rule does: clean models may have to train for it."""

from __future__ import annotations

import dataclasses
import functools

from mpkit.evaluation.targets import aimed
from mpkit.lab.kit.closing import Closed
from mpkit.lab.kit.notes import beside
from mpkit.lab.kit.threads import Worker
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import by_rule, clean_margins
from mpkit.scenario import Scenario

WAITING = "The first picture is shown until clean models have found the target"


class Aiming:
    """The part of a `CraftLab` that aims."""

    aimer: Worker | None = None

    def _found(self, attack: Attack, scenario: Scenario) -> tuple[int, ...]:
        """The target by the rule, which clean models may have to train for. Raises ValueError where
        no picture is a target, and `Closed` where nobody waits for it."""

        def tell(epoch: int, epochs: int) -> None:
            self.picker.told(epoch, epochs)
            self.say(f"{WAITING}: epoch {epoch} of {epochs}.")

        return by_rule(scenario, clean_margins(attack, scenario, tell=tell))

    def _aim(self, attack: Attack, index: tuple[int, ...]) -> None:
        """Take the target that was found for `attack`, if that is still asked for."""
        with self.canvas.lock, self.lock:
            if self.attack is not attack:  # found by another thread, or not asked for any more
                return
            self.attack = dataclasses.replace(attack, target_index=index)
            self.scenario = aimed(self.scenario, index)
            self._lay_out()
        self.show_controls()
        self.redraw()
        self.say("")

    def _aim_later(self) -> None:
        """The same in a thread, so that opening a lab takes no longer. A run waits for it."""
        if self.attack.target_index is not None or self.runner.mode != "thread":
            return
        with beside(None):  # whoever asked for it, a thread will take it back
            self.say(f"{WAITING}.")
        aim = functools.partial(self._aim_quietly, self.attack, self.scenario)
        self.aimer = Worker(aim, "mpkit margins", self.picker.close)
        self.aimer.start()

    def _aim_quietly(self, attack: Attack, scenario: Scenario) -> None:
        try:
            self._aim(attack, self._found(attack, scenario))
        except Closed:
            return
        except Exception as error:  # it belongs into the panel
            self.say(str(error), bad=True)
