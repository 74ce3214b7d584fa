"""What all labs share: one panel of buttons, controls and a picture, around one runner.

A lab says what to iterate (`items`), what to do with each item (`take`), and what the picture shows
(`describe`). It is shown by being the last thing in a cell; nothing starts by itself.

What only some labs can do, they have methods for: `code() -> str` and `use_code(code)` (raises
ShareError and ValueError) for share codes, `save() -> Path` for writing the run into a new folder.
"""

from __future__ import annotations

import html
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import ipywidgets as widgets
from matplotlib.figure import Figure

from mpkit.device import make_reproducible, pick_device
from mpkit.lab import pace
from mpkit.lab.canvas import Canvas
from mpkit.lab.cells import claim, here
from mpkit.lab.controls import Transport
from mpkit.lab.extras import ClosingBox, Line, Question, fold, guess_row, keep_row, share_row
from mpkit.lab.runner import Phase, Runner
from mpkit.lab.warmup import warm_up

__all__ = ["Lab", "Line", "Question"]


class Lab(ABC):
    """Base of the labs. Subclasses set `name`, build a figure and controls, and call `assemble`."""

    name = "lab"
    unit = "step"
    lead = 0
    """How many items come before the first step: 1 where a run begins with how it is without."""

    # ── for subclasses ──────────────────────────────────────────────────────────────────────

    @abstractmethod
    def items(self) -> Iterator:
        """What to run through; called in the worker at the start of a run."""

    @abstractmethod
    def take(self, item) -> None:
        """Note an item and bring the picture's lines up to date; it is drawn when it is due."""

    @abstractmethod
    def clear(self) -> None:
        """Forget the run (a reset), and bring the picture back to its beginning."""

    def describe(self) -> str:
        """What the picture shows at this moment, with its numbers, for those who cannot see it."""
        return self.name

    def moving(self) -> Sequence:
        """The artists that change from frame to frame, in drawing order, all of them; or none, and
        every frame is drawn from scratch (see `Canvas`)."""
        return ()

    def total(self) -> int | None:
        """How many items a run has, if it is known."""
        return None

    def work(self) -> float | None:
        """How much a whole run of `attack` computes (see `mpkit.lab.pace`), to foretell its time;
        None for labs that take a few seconds."""
        return None

    def curve(self) -> tuple[Sequence[float], Sequence[float]]:
        """The main curve so far; the last run's stays as a ghost, named ones can be compared."""
        return (), ()

    def guessed(self) -> None:
        """Called when `self.guess` is known (None: skipped), to draw it."""
        return None

    def redraw_kept(self) -> None:
        """What outlives a run, on a picture that was laid out anew."""
        if hasattr(self, "ghost"):  # not so while the lab is being built
            self.kept()
            self.guessed()

    def kept(self) -> None:
        """Called when `self.named` or `self.ghost` has changed, to draw them."""
        return None

    # ── putting it together ───────────────────────────────────────────────────────────────────

    def assemble(
        self,
        figure: Figure,
        controls: Sequence[widgets.Widget],
        question: Question | None = None,
        below: Sequence[widgets.Widget] = (),
        later: Sequence[widgets.Widget] = (),
    ) -> None:
        """Build `self.panel` and `self.runner`; call at the end of `__init__`.

        `controls` stand above the picture, since they act on it at once; `below` stands under it,
        and `later`, what acts after a reset, is folded away under that.
        """
        make_reproducible(pick_device())
        warm_up()
        self.guess: int | None = None
        self.ghost: Line | None = None
        self.named: list[Line] = []
        self.marks: list[tuple[float, str]] = []
        self._whole: tuple[float, float] | None = None  # since when, and how much is computed
        self.canvas = Canvas(figure, self._words, moving=self.moving)
        # Items hold whole ensembles: what is to be kept of them, `take` keeps.
        self.runner = Runner(self.items, self._taken, self._changed, history=0)
        self.transport = Transport(self.runner, self._before)
        self.status = widgets.HTML()
        # Room for a line even when empty, or the first words would move a slider off the mouse.
        self.message = widgets.HTML(layout=widgets.Layout(min_height="28px"))
        self.question, self._asked, asking = question, False, []
        if question:
            asking = [guess_row(self, question, self._answered)]
        rows = [*asking, self.transport.widget, self.status, self.message]
        tools = [keep_row(self), *([share_row(self)] if hasattr(self, "code") else [])]
        wrap = widgets.Layout(flex_flow="row wrap", width="100%", grid_gap="0 24px")
        folded = [fold("Settings that act after a reset", later)] if later else []
        self.panel = ClosingBox(
            [
                *rows,
                widgets.Box(list(controls), layout=wrap),
                self.canvas.widget,
                *below,
                *folded,
                widgets.Box(tools, layout=wrap),
            ],
            self.end,
        )
        claim(*here(), self.runner)
        self._changed()
        self.canvas.draw()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.panel)
        if self.runner.mode == "sync" and self.runner.phase is Phase.READY:
            self.runner.run()

    def end(self) -> None:
        """Stop whatever runs for this panel, for good."""
        self.runner.close()

    def close(self) -> None:
        """Take the panel away and end its thread."""
        self.panel.close()

    def say(self, text: str, bad: bool = False) -> None:
        """A line under the status; `bad` for what went wrong."""
        colour = "color:var(--jp-error-color1,#b00020);font-weight:600" if bad else ""
        self.message.value = f'<span role="status" style="{colour}">{html.escape(text)}</span>'

    def mark(self, where: float, text: str) -> None:
        """Remember a change at `where` on the plot's axis; `take` and `clear` draw them."""
        self.marks.append((where, text))

    # ── the run ───────────────────────────────────────────────────────────────────────────────

    def _words(self) -> str:
        guess = "" if self.guess is None else f" The guess was {self.guess}."
        return self.describe() + guess

    def _taken(self, item) -> None:
        with self.canvas.lock:
            self.take(item)
        self.canvas.update()
        self._tell()

    def _changed(self) -> None:
        phase = self.runner.phase
        if phase is Phase.RUNNING:
            self._began, self._steps = time.perf_counter(), self.runner.steps
            self.canvas.hurry()  # the first point, as soon as there is one
        self._time(phase)
        self.transport.refresh(allowed=not self._waiting())
        self._tell()
        if phase is Phase.FAILED:
            error = self.runner.error
            self.say(
                f"{self.unit.capitalize()} {self.runner.steps + 1 - self.lead} failed: "
                f"{type(error).__name__}: {error}. What was recorded is kept; ↺ starts anew.",
                bad=True,
            )
        if phase.ended or phase is Phase.PAUSED:
            self.canvas.draw()

    def _time(self, phase: Phase) -> None:
        """Remember how long whole runs take here, those that nobody paused or changed."""
        if phase is Phase.RUNNING and self.runner.steps == 0:
            self._whole = time.perf_counter(), self.work() or 0.0
        elif phase is Phase.DONE and self._whole and self._whole[1] and not self.marks:
            began, work = self._whole
            pace.remember(self.name, self.attack, work, time.perf_counter() - began)
        elif phase is not Phase.RUNNING:
            self._whole = None

    def _expected(self) -> float | None:
        work = self.work()
        return pace.seconds(self.name, self.attack, work) if work else None

    def _before(self, action: str) -> bool:
        if action == "reset":
            x, y = self.curve()
            if len(x):
                self.ghost = Line("last run", list(x), list(y))
            self.runner.reset()
            with self.canvas.lock:
                self.marks.clear()
                self.clear()
            self.say("")
            self._changed()
            self.canvas.draw()
            return False
        return True

    def _waiting(self) -> bool:
        return bool(self.question) and not self._asked and self.runner.mode != "sync"

    def _answered(self, guess: int | None) -> None:
        self.guess, self._asked = guess, True
        with self.canvas.lock:
            self.guessed()
        self._changed()
        self.canvas.draw()

    def _tell(self) -> None:
        phase, done, total = self.runner.phase, self.runner.steps, self.total()
        if total:  # what is asked for may have changed since
            total = done if phase is Phase.DONE else max(total, done)
        parts = [f"<b>{phase.value}</b>{'…' if phase.value.endswith('ing') else ''}"]
        shown = f"{self.unit} {max(0, done - self.lead)}"
        parts.append(shown + (f" of {total - self.lead}" if total else ""))
        if phase is Phase.READY and (seconds := self._expected()):
            parts.append(f"about {pace.told(seconds)} here")
        if phase is Phase.READY and self._waiting():
            parts.append("guess first, or skip")
        if phase is Phase.RUNNING and total and done > self._steps:
            each = (time.perf_counter() - self._began) / (done - self._steps)
            parts.append(f"about {pace.told(each * (total - done))} left")
        if phase.ended:
            parts.append("↺ to start over")
        self.status.value = f'<span role="status">{" · ".join(parts)}</span>'
