"""What all labs share: one panel of buttons, controls and a picture, around one runner.

A lab says what to iterate (`items`), what to do with each item (`take`), and what the picture shows
(`describe`). It is shown by being the last thing in a cell; nothing starts by itself.
"""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import ipywidgets as widgets
from matplotlib.figure import Figure

from mpkit.lab.canvas import Canvas
from mpkit.lab.controls import Number, Transport
from mpkit.lab.runner import Phase, Runner, claim, here


class Question(NamedTuple):
    """What a student is asked to predict before a run: the answer is a number."""

    text: str
    low: int
    high: int
    value: int


class Line(NamedTuple):
    """A curve kept from an earlier run, to be drawn behind the present one."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


class _Box(widgets.VBox):
    """A box that stops its lab's thread when it is closed."""

    def __init__(self, children, closing: Callable[[], object]):
        super().__init__(children)
        self._closing = closing

    def close(self) -> None:
        closing, self._closing = self._closing, lambda: None
        closing()
        super().close()


class Lab:
    """Base of the labs. Subclasses set `name`, build a figure and controls, and call `assemble`."""

    name = "lab"
    unit = "step"

    # ── for subclasses ──────────────────────────────────────────────────────────────────────

    def items(self) -> Iterator:
        """What to run through; called in the worker at the start of a run."""
        raise NotImplementedError

    def take(self, item) -> None:
        """Note an item and bring the picture's lines up to date; it is drawn when it is due."""

    def clear(self) -> None:
        """Forget the run (a reset), and bring the picture back to its beginning."""

    def describe(self) -> str:
        """What the picture shows at this moment, with its numbers, for those who cannot see it."""
        return self.name

    def total(self) -> int | None:
        """How many items a run has, if it is known."""
        return None

    def expected(self) -> float | None:
        """Seconds a run will take here, if it is known beforehand."""
        return None

    def curve(self) -> tuple[Sequence[float], Sequence[float]]:
        """The main curve so far; the last run's stays as a ghost, named ones can be compared."""
        return (), ()

    def code(self) -> str:
        """The share code of the present settings."""
        raise NotImplementedError

    def use_code(self, code: str) -> None:
        """Take the settings of a share code over. Raises ShareError and ValueError."""
        raise NotImplementedError

    # ── putting it together ───────────────────────────────────────────────────────────────────

    def assemble(
        self,
        figure: Figure,
        controls: Sequence[widgets.Widget],
        question: Question | None = None,
        below: Sequence[widgets.Widget] = (),
        share: bool = True,
    ) -> None:
        """Build `self.panel` and `self.runner`; call at the end of `__init__`."""
        self.guess: int | None = None
        self.ghost: Line | None = None
        self.named: list[Line] = []
        self.marks: list[tuple[float, str]] = []
        self._began, self._computed = None, 0.0
        self.canvas = Canvas(figure, self.describe)
        self.runner = Runner(self.items, self._taken, self._changed)
        self.transport = Transport(self.runner, self._before)
        self.status = widgets.HTML()
        self.message = widgets.HTML()
        self.question, asking = question, []
        if question:
            asking = [self._ask(question)]
        rows = [*asking, self.transport.widget, self.status, self.message]
        tools = [self._keep_row(), *([self._share_row()] if share else [])]
        left = widgets.VBox([*controls, *tools], layout=widgets.Layout(flex="0 0 auto"))
        right = widgets.VBox(
            [self.canvas.widget, *below], layout=widgets.Layout(flex="1 1 480px", min_width="320px")
        )
        body = widgets.Box([left, right], layout=widgets.Layout(flex_flow="row wrap", width="100%"))
        self.panel = _Box([*rows, body], self.runner.close)
        claim(*here(), self.runner)
        self._changed()
        self.canvas.draw()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.panel)
        if self.runner.mode == "sync" and self.runner.phase is Phase.READY:
            self.runner.run()

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

    def _taken(self, item) -> None:
        self.take(item)
        self.canvas.update()
        self._tell()

    def _changed(self) -> None:
        phase = self.runner.phase
        if phase is Phase.RUNNING:
            self._began, self._steps = time.perf_counter(), self.runner.steps
        self.transport.refresh(allowed=not self._waiting())
        self._tell()
        if phase is Phase.FAILED:
            error = self.runner.error
            self.say(
                f"{self.unit.capitalize()} {self.runner.steps + 1} failed: "
                f"{type(error).__name__}: {error}. What was recorded is kept; ↺ starts anew.",
                bad=True,
            )
        if phase.ended or phase is Phase.PAUSED:
            self.canvas.draw()

    def _before(self, action: str) -> bool:
        if action == "reset":
            x, y = self.curve()
            if len(x):
                self.ghost = Line("last run", list(x), list(y))
            self.runner.reset()
            self.marks.clear()
            self.clear()
            self.say("")
            self._changed()
            self.canvas.draw()
            return False
        return True

    def _tell(self) -> None:
        phase, done, total = self.runner.phase, self.runner.steps, self.total()
        parts = [f"<b>{phase.value}</b>{'…' if phase.value.endswith('ing') else ''}"]
        parts.append(f"{self.unit} {done}" + (f" of {total}" if total else ""))
        if phase is Phase.READY and self.expected():
            parts.append(f"about {_seconds(self.expected())} here")
        if phase is Phase.READY and self._waiting():
            parts.append("guess first, or skip")
        if phase is Phase.RUNNING and total and done > self._steps:
            pace = (time.perf_counter() - self._began) / (done - self._steps)
            parts.append(f"about {_seconds(pace * (total - done))} left")
        if phase.ended:
            parts.append("↺ to start over")
        self.status.value = f'<span role="status">{" · ".join(parts)}</span>'

    # ── predict, then reveal ──────────────────────────────────────────────────────────────────

    def _waiting(self) -> bool:
        return bool(self.question) and not self._asked and self.runner.mode != "sync"

    def _ask(self, question: Question) -> widgets.Widget:
        self._asked = False
        number = Number(
            "Your guess", question.value, question.low, question.high, lambda _: None, self.say
        )
        commit = widgets.Button(description="Commit", button_style="primary")
        skip = widgets.Button(description="Skip")
        row = widgets.VBox(
            [widgets.HTML(html.escape(question.text)), widgets.HBox([number.widget, commit, skip])]
        )

        def answered(guess: int | None) -> None:
            self.guess, self._asked = guess, True
            commit.disabled = skip.disabled = number.slider.disabled = number.box.disabled = True
            self.say("" if guess is None else f"Your guess is {guess}.")
            self.guessed()
            self._changed()
            self.canvas.draw()

        commit.on_click(lambda _: answered(number.value))
        skip.on_click(lambda _: answered(None))
        return row

    def guessed(self) -> None:
        """Called when `self.guess` is known (None: skipped), to draw it."""

    # ── keep and share ────────────────────────────────────────────────────────────────────────

    def _keep_row(self) -> widgets.Widget:
        name = widgets.Text(placeholder="name of this run", layout=widgets.Layout(width="150px"))
        keep = widgets.Button(
            description="Keep", tooltip="keep this curve", layout=widgets.Layout(width="70px")
        )
        png = widgets.Button(
            description="PNG", tooltip="the picture as a file", layout=widgets.Layout(width="70px")
        )
        link = widgets.HTML()

        def kept(_) -> None:
            x, y = self.curve()
            if not len(x):
                return self.say("There is nothing to keep yet: ▶ first.")
            label = name.value.strip() or f"run {len(self.named) + 1}"
            self.named = [line for line in self.named if line.label != label][-1:]
            self.named.append(Line(label, list(x), list(y)))
            self.say(f"Kept as “{label}”; the last two kept runs stay on the plot.")
            self.kept()
            self.canvas.draw()

        def picture(_) -> None:
            data = base64.b64encode(self.canvas.png()).decode()
            link.value = (
                f'<a download="{html.escape(self.name)}.png" '
                f'href="data:image/png;base64,{data}">save the picture</a>'
            )

        keep.on_click(kept)
        png.on_click(picture)
        return widgets.HBox([name, keep, png, link])

    def kept(self) -> None:
        """Called when `self.named` has changed, to draw it."""

    def _share_row(self) -> widgets.Widget:
        text = widgets.Text(
            placeholder="paste a share code here", layout=widgets.Layout(width="150px")
        )
        give = widgets.Button(
            description="Share",
            tooltip="a code of these settings",
            layout=widgets.Layout(width="70px"),
        )
        take = widgets.Button(
            description="Use",
            tooltip="take the code's settings",
            layout=widgets.Layout(width="70px"),
        )

        def given(_) -> None:
            text.value = self.code()
            self.say("The code of these settings is in the box: copy it.")

        def taken(_) -> None:
            if self.runner.phase is not Phase.READY:
                return self.say("A code changes everything: ↺ first, and then Use.")
            try:
                self.use_code(text.value)
                self.say("The settings are those of the code.")
            except ValueError as error:  # ShareError among them
                self.say(str(error), bad=True)

        give.on_click(given)
        take.on_click(taken)
        return widgets.HBox([text, give, take])


def _seconds(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
