"""The pictures that a filter throws away: poisons and innocents, named and framed so."""

from __future__ import annotations

import html
import threading

import ipywidgets as widgets

from mpkit.defenses.defense import kind_of
from mpkit.lab.defense_judged import Judged
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.gallery import Pictures
from mpkit.lab.kit.notes import Say
from mpkit.scenario import Scenario

PAGE = 12
"""Pictures at a time."""
SIZE = 104
"""CSS pixels."""
WAITING = "Here will be what a filter throws away. Poisons are framed, and named."
NOTHING = {
    "none": "Without a defense nothing is thrown away.",
    "training": "throws nothing away: it changes how victims train, or what they are shown.",
    "certified": "throws nothing away: it trains a model on each part, and lets them vote.",
}


class Thrown:
    """A row of pictures under a sentence, the most suspicious first, a page at a time."""

    def __init__(self, say: Say):
        self.row = Pictures("pictures that the filter throws away", size=SIZE)
        self.row.layout.flex = "0 0 auto"  # under each other, and not beside
        self.words = widgets.HTML(layout=widgets.Layout(max_width="100%"))
        self.page = Number("page of pictures", 1, 1, 1, lambda n: self._turn(n - 1), say)
        self.widget = widgets.VBox([self.words, self.row, self.page.widget])
        self._shown: tuple[Scenario, Judged] | None = None
        self._lock, self.first = threading.RLock(), 0

    def show(self, scenario: Scenario, found: Judged | None, name: str) -> None:
        """What this defense threw away; `name` is the one that was asked for, "" for any."""
        with self._lock:
            before = self._shown and self._shown[1]
            if found is None or found.rows is None:
                self._shown = None
                return self._nothing(found, name)
            self._shown = scenario, found
            if before is not found:
                self.first = 0
            self.page.limit(1, self.pages, self.first // PAGE + 1)
            self.page.widget.layout.display = "" if self.pages > 1 else "none"
            self._draw()

    @property
    def pages(self) -> int:
        """How many there are to turn."""
        return max(1, -(-len(self._shown[1].rows) // PAGE))

    def _turn(self, page: int) -> None:
        with self._lock:
            self.first = page * PAGE
            self._draw()

    def _nothing(self, found: Judged | None, name: str) -> None:
        said, kind = WAITING, kind_of(name) if name else ""
        if found and found.refused:
            said = f"{name} cannot be had here: {found.refused}."
        elif kind in NOTHING:
            said = NOTHING[kind] if kind == "none" else f"{name} {NOTHING[kind]}"
        self._say(said)
        self.row.layout.display = self.page.widget.layout.display = "none"

    def _draw(self) -> None:
        scenario, found = self._shown
        names, poisons = scenario.train.classes, set(scenario.bases.tolist())
        some = slice(self.first, self.first + PAGE)
        rows = found.rows[some].tolist()
        guilty = [row in poisons for row in rows]
        kinds = [names[int(c)] for c in found.labels[some]]
        captions = [
            f"{'POISON' if g else 'innocent'}\n{k}" for g, k in zip(guilty, kinds, strict=True)
        ]
        what = [f"{'a poison' if g else 'an innocent picture'}, labelled" for g in guilty]
        told = [
            f"thrown away as number {i}: {w} {k}"
            for i, (w, k) in enumerate(zip(what, kinds, strict=True), self.first + 1)
        ]
        self._say(f"{found.defense}, the most suspicious first. {found.removed}")
        self.row.layout.display = "" if rows else "none"
        self.row.show(found.pictures[some], captions, told, framed=guilty)

    def _say(self, text: str) -> None:
        self.words.value = f'<span role="status">{html.escape(text)}</span>'
