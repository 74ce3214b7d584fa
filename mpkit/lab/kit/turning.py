"""Settings that are turned: at once, from the next step on, or for the next run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mpkit.lab.kit.runner import Phase


class Turning:
    """The part of a `Lab` that takes settings; `knobs` holds those that act within a run."""

    waiting: Mapping[str, object] = MappingProxyType({})
    """Settings of the next run, that a reset takes over."""

    def turn(self, **values: object) -> None:
        """Settings that act at the next step of a run. Raises ValueError and changes nothing."""
        self.knobs.turn(**values)
        phase = self.runner.phase
        within = phase is Phase.PAUSED and self.clock.batches  # a step that goes on as it began
        if within or phase in (Phase.RUNNING, Phase.PAUSING):
            self.say(f"From the next {self.unit} on.")
        elif phase is Phase.READY:  # its words tell what will be run
            self.redraw()
        self._tell()

    def later(self, **values: object) -> None:
        """Settings of the next run: checked now, and taken over at once if nothing has run yet."""
        after = self.together(values)
        self.check(after)
        self.waiting = after
        if self.runner.phase is not Phase.READY:
            return self.say("After reset (↺).")
        self.start_over()

    def together(self, values: dict[str, object]) -> dict[str, object]:
        """What waits for a reset, with `values` added."""
        return self.waiting | values

    def check(self, values: dict[str, object]) -> None:
        """Raises ValueError for settings of the next run that cannot be."""
        return None

    def apply(self, values: dict[str, object]) -> None:
        """Take over settings that waited for a reset."""
        return None

    def show_controls(self) -> None:
        """Set every control to what is in force."""
        return None

    def start_over(self) -> None:
        """Back to the beginning, with the settings that waited for it."""
        with self.canvas.lock, self.lock:
            self.marks = []
            self.no_film()
            waiting, self.waiting = self.waiting, {}
            self.apply(waiting)
            self.clear()
        self.show_controls()
        self._changed()
        self.redraw()
