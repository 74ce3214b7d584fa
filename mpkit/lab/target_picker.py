"""The target among the test pictures of its class, as thumbnails, those first that are near.

What is near takes eight clean models (see `mpkit.evaluation.targets`). Where their margins are not
known the pictures stand in plain order, and are sorted on demand, in a thread: no lab waits for it.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable

import ipywidgets as widgets
from torch import Tensor

from mpkit.evaluation.margins import known_margins
from mpkit.evaluation.targets import MODELS, THIRDS, Target, target_index, whole_test_set
from mpkit.lab.kit.closing import Closed, close_all
from mpkit.lab.kit.controls import Say, Thumbnails
from mpkit.lab.kit.threads import Worker
from mpkit.lab.kit.tools import fold
from mpkit.runs.attack import Attack
from mpkit.runs.prepared import clean_margins, clean_setup
from mpkit.scenario import Scenario

PER_PAGE = 8
"""Thumbnails of a row: what stands side by side on a small screen."""


class TargetPicker:
    """`picked(index)` is told which picture of the class is chosen, and may refuse (ValueError).

    Buttons only: nothing here has a value that a browser could send back.
    """

    def __init__(self, picked: Callable[[int], object], say: Say):
        self.picked, self.say = picked, say
        self.rows: dict[str, Row] = {}
        self.attack: Attack | None = None
        self.scenario: Scenario | None = None
        self._closed, self._stale, self._filling = threading.Event(), True, threading.Lock()
        self.status = widgets.HTML()
        self.sort = widgets.Button(
            description="Sort by margin",
            tooltip=f"trains {MODELS} clean models, once for these data and this network",
            layout=widgets.Layout(width="max-content"),
        )
        self.sort.on_click(lambda _: self._sort())
        self.inside = widgets.VBox(layout=widgets.Layout(width="100%"))
        self.widget = fold("The target's picture", [self.inside])
        self.opener = self.widget.children[0]
        self.opener.observe(lambda _: self._fill(), "value")

    def show(self, attack: Attack, scenario: Scenario) -> None:
        """The attack that is in force: its target is marked."""
        self.attack, self.scenario, self._stale = attack, scenario, True
        self._fill()

    def close(self) -> None:
        """End what is trained for this picker, and close what is not shown."""
        self._closed.set()
        with self._filling:
            for part in (self.sort, self.status):
                close_all(part)

    # ── what is shown ─────────────────────────────────────────────────────────────────────────

    def _fill(self) -> None:
        """Make the thumbnails, once they are looked at; one thread at a time."""
        with self._filling:
            if self._stale and self.opener.value and not self._closed.is_set():
                self._stale = False
                self._make()

    def _make(self) -> None:
        setup = clean_setup(self.attack, self.scenario)
        true, adversarial = int(self.scenario.target_labels[0]), int(self.scenario.adversarial[0])
        margins, name = known_margins(setup), setup.test.classes[true]
        if margins:
            found = margins.targets(true, adversarial)
            groups = {third: [t for t in found if t.third == third] for third in THIRDS}
            out = sum(t.third is None for t in found)
            left = f" {out} that most of them get wrong are left out." if out else ""
            text = f"By the mean margin of {MODELS} clean models, near ones first.{left}"
        else:
            rows = setup.test.rows_of(true).tolist()
            groups = {"in plain order": [Target(i, row, 0.0) for i, row in enumerate(rows)]}
            text = f"Which are near is not known yet: it takes {MODELS} clean models."
        pictures, used = whole_test_set(self.scenario).x, target_index(self.scenario)[0]
        rows = {
            group: Row(f"{name}, {group}", pictures, some, self._pick, self.say)
            for group, some in groups.items()
            if some
        }
        for row in rows.values():
            row.open_at(used)
        self._tell(text)
        tools = [] if margins else [self.sort]
        self.inside.children = [self.status, *tools, *(row.widget for row in rows.values())]
        before, self.rows = self.rows, rows
        for row in before.values():
            close_all(row.widget)

    def _tell(self, text: str) -> None:
        self.status.value = f'<span role="status" aria-live="off">{text}</span>'

    def _pick(self, index: int) -> None:
        self.picked(index)
        for row in self.rows.values():
            row.mark(index)

    # ── sorting ───────────────────────────────────────────────────────────────────────────────

    def _sort(self) -> None:
        self.sort.disabled = True
        Worker(self._compute, "mpkit margins", self._closed.set).start()

    def told(self, epoch: int, epochs: int) -> None:
        """How far the clean models are; raises `Closed` where nobody waits for them."""
        if self._closed.is_set():
            raise Closed
        self._tell(f"{MODELS} clean models: epoch {epoch} of {epochs}.")

    def _compute(self) -> None:
        try:
            clean_margins(self.attack, self.scenario, tell=self.told)
            self._stale = True
            self._fill()
        except Closed:
            return
        except Exception as error:  # whatever it is, it belongs into the panel
            why = html.escape(f"{type(error).__name__}: {error}")
            self._tell(f"The pictures could not be sorted. {why}")
        self.sort.disabled = False


class Row:
    """Some pictures side by side, `PER_PAGE` at a time; opened where the target is."""

    def __init__(self, label: str, pictures: Tensor, targets: list[Target], pick, say: Say):
        self.label, self.pictures, self.targets, self.pick = label, pictures, targets, pick
        self.page, self.used = 0, None
        self.thumbs = Thumbnails(label, pictures[:0], [], -1, self._turn, say)
        self.turns = [self._turner("angle-left", "back", -1), self._turner("angle-right", "on", 1)]
        parts = [self.thumbs.widget, widgets.HBox(self.turns)]
        self.widget = widgets.HBox(parts, layout=widgets.Layout(width="100%"))

    def _turner(self, icon: str, word: str, step: int) -> widgets.Button:
        tip = f"{self.label}: one page {word}"
        button = widgets.Button(icon=icon, tooltip=tip, layout=widgets.Layout(width="36px"))
        button.on_click(lambda _: self._go(step))
        return button

    def _go(self, step: int) -> None:
        self.page += step
        self._show()

    def _shown(self) -> list[Target]:
        return self.targets[self.page * PER_PAGE : (self.page + 1) * PER_PAGE]

    def _show(self) -> None:
        some = self._shown()
        names = [f"{t.margin:.1f}" if t.third else str(t.index) for t in some]
        tips = [f"test picture {t.index}" + (f": {t}" if t.third else "") for t in some]
        self.thumbs.put(self.pictures[[t.row for t in some]], names, -1, tips)
        self.mark(self.used)
        last = (len(self.targets) - 1) // PER_PAGE
        for button, off in zip(self.turns, (self.page == 0, self.page == last), strict=True):
            button.disabled = off

    def open_at(self, index: int) -> None:
        """Turn to the page where this picture of the class is, if it is here at all."""
        where = [i for i, t in enumerate(self.targets) if t.index == index]
        self.page, self.used = where[0] // PER_PAGE if where else 0, index
        self._show()

    def mark(self, index: int | None) -> None:
        """Which picture of the class is the target."""
        self.used = index
        here = [t.index for t in self._shown()]
        self.thumbs.show(here.index(index) if index in here else -1)

    def _turn(self, place: int) -> None:
        self.pick(self._shown()[place].index)
