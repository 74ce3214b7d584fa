"""What all labs share: one panel of buttons, controls and a picture, around one runner.

A lab is settings, an iterator, a view and words: what may be turned (`dials`), what to iterate
(`items`), what to do with each item (`take`), and what the picture shows (`describe`). It is shown
by being the last thing in a cell; nothing starts by itself.

What only some labs can do, they have methods for: `code() -> str` and `use_code(code)` (raises
ShareError and ValueError) for share codes, `save() -> Path` for writing the run into a new folder,
`story() -> Story` (raises ValueError while there is none) for its card and its page.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import ipywidgets as widgets
from matplotlib.figure import Figure

from mpkit.data import Dataset
from mpkit.device import make_reproducible, pick_device
from mpkit.lab.kit.canvas import Canvas
from mpkit.lab.kit.cells import claim, here
from mpkit.lab.kit.closing import Closing
from mpkit.lab.kit.controls import Transport
from mpkit.lab.kit.film import Filming
from mpkit.lab.kit.front import Front
from mpkit.lab.kit.keeping import Keeping
from mpkit.lab.kit.memory import give_back
from mpkit.lab.kit.notes import Speaking, notes_in
from mpkit.lab.kit.pace import Clock
from mpkit.lab.kit.runner import Phase, Put, Runner
from mpkit.lab.kit.tools import (
    WRAP,
    ClosingBox,
    Line,
    Question,
    fold,
    guess_row,
    keep_row,
    picture_row,
    share_row,
)
from mpkit.lab.kit.turning import Turning
from mpkit.lab.kit.warmup import warm_up
from mpkit.telling import Tell

__all__ = ["Lab", "Line", "Question"]
NEXT_RUN = "Settings for the next run"
HERO = "mpkit-hero"
"""The class of what shows pictures, which lecture pages put first."""


class Lab(Closing, Speaking, Keeping, Filming, Turning, ABC):
    """Base of the labs. Subclasses set `name`, build a figure and controls, and call `assemble`."""

    name = "lab"
    unit = "step"
    lead = 0
    """How many items come before the first step: 1 where a run begins with how it is without."""

    # ── for subclasses ──────────────────────────────────────────────────────────────────────

    @abstractmethod
    def items(self) -> Iterator:
        """What to run through; called in the worker at the start of a run. It changes nothing of
        the lab: what is to be in it beside the items is handed over, as in ``yield self.put(…)``
        or ``yield Put(do)``, and is left out where the run was left meanwhile."""

    @abstractmethod
    def take(self, item) -> None:
        """Note an item; the picture is drawn when it is due. A lab that keeps a film brings the
        picture's lines up to date in `show_frame` alone, while the run goes on. Others do it here,
        and wait while a frame is drawn."""

    @abstractmethod
    def clear(self) -> None:
        """Forget the run (a reset), and bring the picture back to its beginning."""

    def within(self) -> Tell:
        """For `items`, asked there: what a step that takes long tells of its batches. The panel
        shows how far it is, and Pause and Stop act after the batch under way."""
        breath = self.runner.breath()

        def tell(done: int, of: int) -> None:
            breath(lambda: self.clock.batch(done, of))
            if self.clock.due():
                self._tell()

        return tell

    def put(self, **values: object) -> Put:
        """For `items`, to be yielded: these become attributes of the lab."""

        def do() -> None:
            with self.lock:
                vars(self).update(values)

        return Put(do)

    def describe(self) -> str:
        """What the picture shows at this moment, with its numbers, for those who cannot see it."""
        return self.name

    def moving(self) -> Sequence:
        """The artists that change from frame to frame, in drawing order, all of them; or none, and
        every frame is drawn from scratch (see `Canvas`)."""
        return ()

    def framed(self, picture: widgets.Widget) -> widgets.Widget:
        """What stands in the panel for the picture: itself, or a box of it and what is over it."""
        return picture

    def total(self) -> int | None:
        """How many items a run has, if it is known."""
        return None

    def work(self) -> float | None:
        """How much a whole run of `attack` computes (see `pace`), to foretell its time;
        None for labs that take a few seconds."""
        return None

    def pictures(self) -> Dataset | None:
        """What is trained on, where `work` says how much."""
        return None

    def curve(self) -> tuple[Sequence[float], Sequence[float]]:
        """The main curve so far; the last run's stays as a ghost, named ones can be compared."""
        return (), ()

    # ── putting it together ───────────────────────────────────────────────────────────────────

    def assemble(
        self,
        figure: Figure,
        controls: Sequence[widgets.Widget],
        question: Question | None = None,
        below: Sequence[widgets.Widget] = (),
        later: Sequence[widgets.Widget] = (),
        pictures: Sequence[widgets.Widget] = (),
    ) -> None:
        """Build `self.panel` and `self.runner`; call at the end of `__init__`.

        `controls` stand above `pictures` and the figure, since they act on them at once; `below`
        stands under them, and `later`, settings of the next run, is folded away under that.
        """
        make_reproducible(pick_device())
        warm_up()
        self.guess: int | None = None
        self.ghost: Line | None = None
        self.named: list[Line] = []
        self.marks: list[tuple[float, str]] = []
        self.canvas = Canvas(figure, self._words, moving=self.moving)
        # Items hold whole ensembles: what is to be kept of them, `take` keeps.
        self.runner = Runner(self.played, self._taken, self._changed, history=0)
        self.transport = Transport(self.runner, self._before)
        self.clock = Clock(self)
        self.make_film()
        self.status = widgets.HTML()
        # Room for a line even when empty, or the first words would move a slider off the mouse.
        self.message = widgets.HTML(layout=widgets.Layout(min_height="28px"))
        self.question, self._asked = question, False
        asking = [guess_row(question, self._answered, self.say)] if question else []
        save = self._save if hasattr(self, "save") else None
        story = self.story if hasattr(self, "story") else None
        tools = [keep_row(self._keep, save), picture_row(self.name, self.canvas.png, story)]
        if hasattr(self, "code"):
            tools.append(share_row(self.code, self._use, self.say))
        wrap, folded = widgets.Layout(**WRAP), [fold(NEXT_RUN, later)] if later else []
        turned, figure = widgets.Box(list(controls), layout=wrap), self.framed(self.canvas.widget)
        for each in pictures:
            each.add_class(HERO)
        shown = [turned, *pictures, figure, *below, *folded]
        time = [self.bar] * self.filmed
        rows = [*asking, self.transport.widget, *time, self.status, self.message]
        front = Front(type(self).__name__)
        parts = [*rows, *shown, front, widgets.Box(tools, layout=wrap)]
        self.panel = ClosingBox(parts, self.close)
        self.panel.add_class("mpkit-lab")
        claim(*here(), self)
        self.show_controls()
        self._changed()
        self.canvas.draw()
        front.follow(self.panel)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.panel)
        if self.runner.mode == "sync" and self.runner.phase is Phase.READY:
            self.runner.run()

    def end(self, timeout: float | None = None) -> None:
        """Stop whatever runs for this panel, for good, and close what is in no box; waits for the
        step under way, at most so many seconds."""
        self.runner.close(timeout)
        self.canvas.stop(timeout)
        for button in self.transport.buttons.values():
            button.disabled = True
        self.status.value = (
            '<span role="status" aria-live="off"><b>closed</b> · run its cell again</span>'
        )

    def mark(self, where: float, text: str) -> None:
        """Remember a change at `where` on the plot's axis; it is drawn with what comes next."""
        self.marks = [*self.marks, (where, text)]  # anew: they may be drawn at this moment
        self.canvas.hurry()  # whoever turned something waits for it

    # ── the run ───────────────────────────────────────────────────────────────────────────────

    def _words(self) -> str:
        guess = "" if self.guess is None else f" The guess was {self.guess}."
        return self.describe() + guess

    def _taken(self, item) -> None:
        self.clock.batches = None
        with contextlib.nullcontext() if self.filmed else self.canvas.lock, self.lock:
            self.take(item)
            self.keep_frame(self.runner.steps)
        self.show_later()
        self._tell()

    def _changed(self) -> None:
        phase = self.runner.phase
        if phase is Phase.RUNNING:
            self.canvas.hurry()  # the first point, as soon as there is one
        self.clock.changed()
        self.transport.refresh(allowed=not self._waiting())
        self._tell()
        if phase is Phase.FAILED:
            error = self.runner.error
            self.say(
                f"{self.unit.capitalize()} {self.runner.steps + 1 - self.lead} failed: "
                f"{type(error).__name__}: {error}. What was recorded is kept; ↺ starts anew.",
                bad=True,
            )
            with contextlib.suppress(Exception):  # it may have been the picture
                self.canvas.draw()
        if phase in (Phase.PAUSED, Phase.STOPPED):  # at the end, `played` has drawn it
            self.canvas.draw()
        if phase.ended or phase is Phase.PAUSED:
            give_back()

    def _before(self, action: str) -> bool:
        new = action == "reset" or self.runner.phase is Phase.READY
        for note in notes_in(self.panel if new else self.panel.children[-1]):
            note.tell("")  # it was said of what was before
        if action == "reset":
            with self.lock:
                x, y = self.curve()
            if len(x):
                self.ghost = Line("last run", list(x), list(y))
            self.runner.reset()
            self.say("")
            self.start_over()
            return False
        return True

    def complain(self, text: str) -> None:
        self.say(text, bad=True)

    def _waiting(self) -> bool:
        return bool(self.question) and not self._asked and self.runner.mode != "sync"

    def _answered(self, guess: int | None) -> None:
        self.guess, self._asked = guess, True
        with self.canvas.lock:
            self.guessed()
        self._changed()
        self.redraw()

    def _tell(self) -> None:
        self.status.value = (
            f'<span role="status" aria-live="off">{self.clock.words(self._waiting())}</span>'
        )
