"""What a panel keeps of its runs and takes from others: guesses, curves, folders, share codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from mpkit.data.places import quoted
from mpkit.lab.kit.runner import Phase
from mpkit.lab.kit.tools import Line
from mpkit.runs.share import decode, differences, encode, merged


class Keeping:
    """The part of a `Lab` that outlives its runs."""

    def guessed(self) -> None:
        """Called when `self.guess` is known (None: skipped), to draw it."""
        self.view.show_guess(self.guess)

    def kept(self) -> None:
        """Called when `self.named` or `self.ghost` has changed, to draw them."""
        self.view.compare([line for line in (self.ghost, *self.named) if line])

    def redraw_kept(self) -> None:
        """What outlives a run, on a picture that was laid out anew."""
        if hasattr(self, "ghost"):  # not so while the lab is being built
            self.kept()
            self.guessed()

    def _keep(self, name: str) -> None:
        with self.lock:
            x, y = self.curve()
        if not len(x):
            return self.say("There is nothing to keep yet: ▶ first.")
        label = name or f"run {len(self.named) + 1}"
        self.named = [line for line in self.named if line.label != label][-1:]
        self.named.append(Line(label, list(x), list(y)))
        self.say(f"Kept as “{name or label}”; the last two kept runs stay on the plot.")
        with self.canvas.lock:
            self.kept()
        self.redraw()

    def _save(self) -> None:
        try:
            folder = str(self.save().resolve())  # a terminal may be elsewhere
            self.say(f"Saved. Go on with: mpkit attack --resume {quoted(folder)}")
        except (OSError, ValueError) as error:
            self.say(str(error), bad=True)

    def _use(self, code: str) -> None:
        if self.runner.phase is not Phase.READY:
            return self.say("A code changes everything: ↺ first, and then Use.")
        try:
            self.use_code(code)
            self.say("The settings are those of the code.")
        except ValueError as error:  # ShareError among them
            self.say(str(error), bad=True)


class Sharing:
    """The part of a lab whose settings are all in its `knobs`; it has a `name`."""

    old_names: Mapping[str, str] = MappingProxyType({})
    """What settings were called in codes of earlier versions."""

    def code(self) -> str:
        """The code of what is in force."""
        now = self.knobs()
        return encode(self.name, differences(dataclasses.asdict(now), vars(type(now)())))

    def use_code(self, code: str) -> None:
        """Take a code's settings, and start over. Raises ShareError, and ValueError for settings
        that cannot be."""
        kind = type(self.knobs())
        values = {self.old_names.get(k, k): v for k, v in decode(self.name, code).items()}
        try:
            settings = kind(**merged(vars(kind()), values))
        except TypeError as error:
            raise ValueError(f"This code holds settings that do not fit: {error}") from error
        self.knobs.put(settings)
        self.waiting = {}
        self.start_over()
