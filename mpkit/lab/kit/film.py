"""A run as a film: what its steps showed, and a slider in time to look back at them.

A lab says what of a moment is to be kept (`frame`) and shows a moment again (`show_frame`); here is
how much is kept, and which moment is looked at. The run goes on meanwhile, and knows nothing of it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import anywidget
import numpy as np
from torch import Tensor
from traitlets import Bool, Int, Unicode

from mpkit.lab.kit.closing import Closed
from mpkit.lab.kit.runner import Phase, Put

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
    """The part of a lab, or of what stands in one, that can be looked back at; it has a `canvas`
    and a `runner`.

    `unit` is what its steps are called, and `lead` how many items come before the first.
    `lock` is held, for moments, by whoever changes or reads what is recorded, or the film. What the
    picture shows is changed under the canvas's lock alone, which a drawing holds: so a run never
    waits for its picture. Who needs both takes the canvas's first.
    """

    lead = 0
    _shown: object | None = None

    def frame(self) -> object | None:
        """What `show_frame` needs of this moment: pictures as bytes, numbers, nothing that changes
        later. None: this moment is not kept."""
        return None

    def show_frame(self, frame: object) -> None:
        """Bring the picture's lines up to date with a frame, be it the last one or an older one.
        The run may be further by then: see `so_far`."""

    @property
    def filmed(self) -> bool:
        """Whether it has frames at all."""
        return type(self).frame is not Filming.frame

    @property
    def seen(self):
        """The frame that is looked back at, or else shown; None before there is any."""
        return self._shown if self.live else self.film.seen

    @property
    def live(self) -> bool:
        """Whether the run is followed, and nobody looks back."""
        return not hasattr(self, "film") or self.film.live

    def make_film(self) -> None:
        """An empty film, and a slider where there will be frames."""
        self.lock, self.canvas.fresh = threading.RLock(), self.catch_up
        self.canvas.broken = self._broken
        self.film, self.bar = Film(), FilmBar(self.scrub, self.unit) if self.filmed else None

    def played(self) -> Iterator:
        """For a runner: the `items`, and at their end the picture of the last one."""
        yield from self.items()
        yield Put(self.canvas.check)
        yield Put(self.canvas.draw)

    def keep_frame(self, step: int) -> None:
        """Keep this moment. Under the lock."""
        if (frame := self.frame()) is not None:
            self.film.add(step, frame)
            if not self.film.live:  # else the picture brings it along
                self._show_bar()

    def show_later(self) -> None:
        """After an item: have the picture drawn by a thread when it is due, unless somebody looks
        back. Where the run rests now, all is brought up to date before."""
        if not self.film.live:
            return
        if self.runner.mode != "thread":
            self.canvas.update()
        elif not self.runner.resting:
            self.canvas.later()
        else:
            self.canvas.check()
            with self.canvas.lock:
                self.catch_up()

    def redraw(self) -> None:
        """After a hand has changed something: have the picture drawn by a thread, one for all that
        is changed meanwhile. Where nothing runs beside, it is drawn at once."""
        if self.runner.mode == "thread":
            self.canvas.soon()
        else:
            self.canvas.draw()

    def _broken(self) -> None:
        """The picture has failed in its thread: a run under way fails of it, or else it is told."""
        if self.runner.phase not in (Phase.RUNNING, Phase.PAUSING, Phase.STOPPING):
            with contextlib.suppress(Closed):
                error, self.canvas.failed = self.canvas.failed, None
                if error:  # a reset may have forgotten it meanwhile
                    self.complain(f"The picture failed: {type(error).__name__}: {error}")

    def complain(self, text: str) -> None:
        """Say what went wrong."""

    def catch_up(self, again: bool = False) -> None:
        """Bring the picture up to date with the moment that is looked at, if it is another one than
        before, or `again`. Under the canvas's lock."""
        with self.lock:
            frame = self.film.seen
            if frame is None or (frame is self._shown and not again):
                return
            self._shown = frame
            self._show_bar()
        self.show_frame(frame)

    def so_far(self, items: Sequence, count: int) -> Sequence:
        """For `show_frame`, of what the run goes on with: the first `count`, which the frame is of;
        all, where somebody looks back."""
        return items[: count if self.live else None]

    def no_film(self) -> None:
        """Forget all that was kept. Under both locks."""
        self.film.clear()
        self._shown = self.canvas.failed = None
        self._show_bar()

    def scrub(self, step: int) -> None:
        """Look at a step; at the last one, follow the run. Nothing else is changed."""
        with self.canvas.lock:
            with self.lock:
                if not self.film.frames:
                    return
                self.film.seek(step)
            self.catch_up(again=True)
            self.canvas.draw()
        self._tell()

    def follow(self) -> None:
        """Back to the end: what comes next is shown."""
        with self.canvas.lock, self.lock:
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
