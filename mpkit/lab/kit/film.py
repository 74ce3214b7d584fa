"""A run as a film: what its steps showed, and a slider in time to look back at them.

A lab says what of a moment is to be kept (`frame`) and shows a moment again (`show_frame`); here is
how much is kept, and which moment is looked at. The run goes on meanwhile, and knows nothing of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anywidget
import numpy as np
from torch import Tensor
from traitlets import Bool, Int, Unicode

MEGABYTES = 64
"""What the film of one run may take; where it would take more, every second frame goes."""


def weight(frame: object) -> int:
    """How many bytes a frame takes, roughly: what is in tuples, lists and dictionaries counts."""
    if isinstance(frame, Tensor):
        return frame.untyped_storage().nbytes()  # a view holds all that it is a view of
    if isinstance(frame, np.ndarray):
        return frame.nbytes
    if isinstance(frame, tuple | list):
        return sum(map(weight, frame))
    return sum(map(weight, frame.values())) if isinstance(frame, dict) else sys.getsizeof(frame)


class Film:
    """Frames by the step they are of, the first and the last one always among them.

    It is at its end, which the run moves on (`live`), or somebody looks back (`seek`).
    """

    def __init__(self, megabytes: float = MEGABYTES):
        self.megabytes = megabytes
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self.frames: dict[int, object] = {}
        self.size, self.every = 0, 1
        self.back: tuple[int, object] | None = None  # what is looked back at

    def add(self, step: int, frame: object) -> None:
        """Keep the frame of a step after those before. Beyond the limit, every second one of them
        goes, and so does every second one to come."""
        if self.frames and not self._stays(self.last):
            self._drop(self.last)
        self.frames[step] = frame
        self.size += weight(frame)
        while self.size > self.megabytes * 1e6 and len(self.frames) > 2:
            self.every *= 2
            for old in [s for s in self.frames if not self._stays(s) and s != step]:
                self._drop(old)

    def _stays(self, step: int) -> bool:
        return (step - self.first) % self.every == 0

    def _drop(self, step: int) -> None:
        self.size -= weight(self.frames.pop(step))

    @property
    def first(self) -> int:
        """The first step that was kept."""
        return next(iter(self.frames), 0)

    @property
    def last(self) -> int:
        """The step that was kept last."""
        return next(reversed(self.frames), 0)

    @property
    def live(self) -> bool:
        """Whether the end is looked at, wherever the run takes it."""
        return self.back is None

    @property
    def at(self) -> int:
        """The step that is looked at."""
        return self.back[0] if self.back else self.last

    @property
    def seen(self) -> object | None:
        """The frame that is looked at; None before there is any."""
        return self.back[1] if self.back else self.frames.get(self.last)

    def seek(self, step: int) -> None:
        """Look at the last frame up to a step; at the end, the run is followed."""
        before = [s for s in self.frames if s <= max(step, self.first)]
        self.back = None if step >= self.last else (before[-1], self.frames[before[-1]])

    @property
    def note(self) -> str:
        """In words, where not all is kept."""
        if self.every == 1:
            return ""
        return f"One step in {self.every} is kept: a film takes at most {self.megabytes:g} MB."


class FilmBar(anywidget.AnyWidget):
    """The slider. `asked(step)` is called where a hand moves it, and never for what it is set to:
    what is shown goes to the browser as traits, and what is asked for comes as messages."""

    # As text: a path would be watched, and what watches it holds every widget for good.
    _esm = Path(__file__).with_suffix(".js").read_text("utf-8")
    _css = Path(__file__).with_suffix(".css").read_text("utf-8")
    first, last, every, at = (Int(0).tag(sync=True) for _ in range(4))
    live = Bool(True).tag(sync=True)
    words, note, unit = (Unicode("").tag(sync=True) for _ in range(3))

    def __init__(self, asked, unit: str = "step"):
        super().__init__(unit=unit)  # a panel may have one of craft steps, and one of epochs
        self.asked = asked
        self.on_msg(self._heard)

    def _heard(self, _: object, content: dict, buffers: object) -> None:
        try:
            self.asked(int(content["step"]))
        finally:
            self.send("shown")  # the next may come

    def show(self, film: Film, words: str) -> None:
        """Stand where the film stands."""
        with self.hold_sync():
            self.first, self.last, self.every = film.first, film.last, film.every
            self.at, self.live = film.at, film.live
            self.words, self.note = words, film.note


class Filming:
    """The part of a lab, or of what stands in one, that can be looked back at; it has a `canvas`.

    `unit` is what its steps are called, and `lead` how many items come before the first.
    """

    lead = 0

    def frame(self) -> object | None:
        """What `show_frame` needs of this moment: pictures as bytes, numbers, nothing that changes
        later. None: this moment is not kept."""
        return None

    def show_frame(self, frame: object) -> None:
        """Bring the picture's lines up to date with a frame, be it the last one or an older one."""

    @property
    def filmed(self) -> bool:
        """Whether it has frames at all."""
        return type(self).frame is not Filming.frame

    @property
    def seen(self):
        """The frame that is looked at; None before there is any."""
        return self.film.seen if hasattr(self, "film") else None

    @property
    def live(self) -> bool:
        """Whether the run is followed, and nobody looks back."""
        return not hasattr(self, "film") or self.film.live

    def make_film(self) -> None:
        """An empty film, and a slider where there will be frames."""
        self.film, self.bar = Film(), FilmBar(self.scrub, self.unit) if self.filmed else None

    def keep_frame(self, step: int) -> bool:
        """Keep this moment, and show it: True unless somebody looks back. Under the canvas's
        lock."""
        if (frame := self.frame()) is not None:
            self.film.add(step, frame)
            if self.film.live:
                self.show_frame(frame)
            self._show_bar()
        return self.film.live

    def no_film(self) -> None:
        """Forget all that was kept."""
        self.film.clear()
        self._show_bar()

    def scrub(self, step: int) -> None:
        """Look at a step; at the last one, follow the run. Nothing else is changed."""
        with self.canvas.lock:
            if not self.film.frames:
                return
            self.film.seek(step)
            self.show_frame(self.film.seen)
            self._show_bar()
            self.canvas.draw()
        self._tell()

    def follow(self) -> None:
        """Back to the end: what comes next is shown."""
        with self.canvas.lock:
            self.film.back = None
            self._show_bar()

    def _tell(self) -> None:
        """Words elsewhere that say what is shown."""

    def looking_back(self) -> str:
        """In words, where it is so."""
        return "" if self.film.live else f"looking back at {self.step_seen()}"

    def step_seen(self) -> str:
        """What the step that is looked at is called."""
        return f"{self.unit} {self.film.at - self.lead}"

    def _show_bar(self) -> None:
        if self.bar:
            self.bar.show(self.film, self.step_seen() if self.film.frames else "")
