"""What stands around a run: a guess before it, curves that are kept, codes that are shared."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import ipywidgets as widgets

from mpkit.lab.controls import Number
from mpkit.lab.runner import Phase

if TYPE_CHECKING:
    from mpkit.lab.panel import Lab


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


class ClosingBox(widgets.VBox):
    """A box that stops its lab's thread when it is closed."""

    def __init__(self, children, closing: Callable[[], object]):
        super().__init__(children)
        self._closing = closing

    def close(self) -> None:
        closing, self._closing = self._closing, lambda: None
        closing()
        super().close()


def guess_row(lab: Lab, question: Question, answered: Callable[[int | None], object]):
    """The question with a slider, "Commit" and "Skip"; `answered` gets the number, or None."""
    number = Number(
        "Your guess", question.value, question.low, question.high, lambda _: None, lab.say
    )
    commit = widgets.Button(description="Commit", button_style="primary")
    skip = widgets.Button(description="Skip")

    def done(guess: int | None) -> None:
        for part in (commit, skip, number.slider, number.box):
            part.disabled = True
        lab.say("" if guess is None else f"Your guess is {guess}.")
        answered(guess)

    commit.on_click(lambda _: done(number.value))
    skip.on_click(lambda _: done(None))
    text = widgets.HTML(html.escape(question.text))
    return widgets.VBox([text, widgets.HBox([number.widget, commit, skip])])


def fold(title: str, children: Sequence[widgets.Widget]) -> widgets.Widget:
    """Folded away under a button (an Accordion's title can't be reached with the keyboard)."""
    wrap = {"flex_flow": "row wrap", "width": "100%", "grid_gap": "0 24px"}
    inside = widgets.Box(list(children), layout=widgets.Layout(display="none", **wrap))
    opener = widgets.ToggleButton(
        description=title,
        icon="caret-right",
        layout=widgets.Layout(width="max-content", align_self="flex-start"),
    )

    def turned(change: dict) -> None:
        inside.layout.display = "" if change["new"] else "none"
        opener.icon = "caret-down" if change["new"] else "caret-right"

    opener.observe(turned, "value")
    return widgets.VBox([opener, inside])


def plain(text: str) -> str:
    """Letters that a legend shows as they are: no formula between $, and also behind a _."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def keep_row(lab: Lab) -> widgets.Widget:
    """Keep this run's curve under a name, the picture as a file, and the run as a folder."""
    name = widgets.Text(placeholder="a name", layout=widgets.Layout(width="150px"))
    keep, png = _button("Keep", "keep this curve"), _button("PNG", "the picture as a file")
    link = widgets.HTML()

    def kept(_) -> None:
        x, y = lab.curve()
        if not len(x):
            return lab.say("There is nothing to keep yet: ▶ first.")
        label = plain(name.value.strip()[:40]) or f"run {len(lab.named) + 1}"
        lab.named = [line for line in lab.named if line.label != label][-1:]
        lab.named.append(Line(label, list(x), list(y)))
        called = name.value.strip()[:40] or label
        lab.say(f"Kept as “{called}”; the last two kept runs stay on the plot.")
        with lab.canvas.lock:
            lab.kept()
        lab.canvas.draw()

    def picture(_) -> None:
        data = base64.b64encode(lab.canvas.png()).decode()
        link.value = (
            f'<a download="{html.escape(lab.name)}.png" '
            f'href="data:image/png;base64,{data}">save the picture</a>'
        )

    def saved(_) -> None:
        try:
            lab.say(f"Saved in {lab.save()}")
        except (OSError, ValueError) as error:
            lab.say(str(error), bad=True)

    keep.on_click(kept)
    png.on_click(picture)
    row = [name, keep, png]
    if hasattr(lab, "save"):
        save = _button("Save", "the run as a folder that can be resumed")
        save.on_click(saved)
        row.append(save)
    return widgets.HBox([*row, link])


def share_row(lab: Lab) -> widgets.Widget:
    """A short code of the settings, to be given away or pasted in."""
    text = widgets.Text(placeholder="share code", layout=widgets.Layout(width="150px"))
    give, take = (
        _button("Share", "a code of these settings"),
        _button("Use", "take a code's settings"),
    )

    def given(_) -> None:
        text.value = lab.code()
        lab.say("The code of these settings is in the box: copy it.")

    def taken(_) -> None:
        if lab.runner.phase is not Phase.READY:
            return lab.say("A code changes everything: ↺ first, and then Use.")
        try:
            lab.use_code(text.value)
            lab.say("The settings are those of the code.")
        except ValueError as error:  # ShareError among them
            lab.say(str(error), bad=True)

    give.on_click(given)
    take.on_click(taken)
    return widgets.HBox([text, give, take])


def _button(label: str, tip: str) -> widgets.Button:
    return widgets.Button(description=label, tooltip=tip, layout=widgets.Layout(width="70px"))
