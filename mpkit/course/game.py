"""Spot the poison: two pictures of one class, one of them changed, and a score against chance.

No thread: a click is answered in the callback. The rounds are drawn by a seed, so that
the same seed asks the same questions, whatever was answered before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import ipywidgets as widgets
import torch
from torch import Tensor

from mpkit.course import progress
from mpkit.evaluation.rates import Rate, rate
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.front import heard
from mpkit.lab.kit.runner import how_to_run
from mpkit.runs.sheet import picture_tag
from mpkit.streams import generator

SIDES = ("A", "B")
SIDE = 192
"""Pixels of a picture's side on the screen."""

GUESSES = 200
"""How many rounds a coin plays where nobody can click (MPKIT_SYNC=1)."""


class SpotThePoison:
    """A panel with two pictures; a button says which one is the poison. The pair stays, with the
    change beside it, until the next is asked for.

    bases, poisons (P, C, H, W) in [0, 1], P ≥ 2: the pictures before and after, all of one class.
    `strength` multiplies the change: at 0 there is nothing to see, at 1 it is as published. Scores
    are kept for each strength by itself; under the name `keep`, also when the notebook is closed.
    Raises ValueError for shapes that differ or P < 2.
    """

    def __init__(
        self,
        bases: Tensor,
        poisons: Tensor,
        seed: int = 0,
        strength: float = 1.0,
        keep: str | None = None,
    ):
        if bases.shape != poisons.shape or bases.dim() != 4 or len(bases) < 2:
            raise ValueError(
                "bases and poisons must be (P, C, H, W) of one shape with P of 2 or more, not "
                f"{tuple(bases.shape)} and {tuple(poisons.shape)}"
            )
        self.bases, self.poisons, self.seed = bases, poisons, seed
        self.strength, self.mode = float(strength), how_to_run()
        self.keep = keep if self.mode != "sync" else None  # a coin's score is not the student's
        self.scores = _scores(progress.kept(keep)) if self.keep else {}
        self.round = sum(n for _, n in self.scores.values())  # on from where it was left
        self.answered = False
        self._lay_out()
        self._ask()

    # ── the game ──────────────────────────────────────────────────────────────────────────────

    def pair(self) -> tuple[Tensor, int]:
        """The pictures (2, C, H, W) of this round, and which of them is the poison."""
        draw = generator(self.seed, "spot the poison", self.round)
        changed, other = torch.randperm(len(self.bases), generator=draw)[:2].tolist()
        side = int(torch.randint(2, (), generator=draw))
        base = self.bases[changed]
        poison = (base + self.strength * (self.poisons[changed] - base)).clamp(0, 1)
        pictures = [self.bases[other], poison] if side else [poison, self.bases[other]]
        return torch.stack(pictures), side

    def answer(self, side: int) -> bool:
        """Say that picture 0 (A) or 1 (B) is the poison: whether it is. The pair stays, and only
        the first answer to it counts."""
        right = side == self.pair()[1]
        if not self.answered:
            self._score(side)
            self._keep()
            self._explain(side, right)
        return right

    def go_on(self) -> None:
        """The next round."""
        self.round += 1
        self._ask()

    def play(self, player: Callable[[Tensor], int], rounds: int) -> Rate:
        """Let ``player(pictures (2, C, H, W)) → 0 or 1`` play; its own score, which is not kept."""
        kept, before = self.scores, self.round
        self.scores = {}
        try:
            for self.round in range(before, before + rounds):
                self._score(int(player(self.pair()[0])))
            return self.score()
        finally:
            self.scores, self.round = kept, before

    def score(self) -> Rate | None:
        """Right answers at the present strength, with n and interval; None before the first."""
        right, n = self.scores.get(self.strength, (0, 0))
        return rate(right, n) if n else None

    def turn(self, strength: float) -> None:
        """Another strength, with a score of its own; a round that is open is shown anew."""
        self.strength = float(strength)
        self.knob.show(self.strength)
        self.round += self.answered
        self._ask()

    def restart(self) -> None:
        """Forget all scores and begin with the first round."""
        self.scores, self.round = {}, 0
        self._keep()
        self._ask()

    def _keep(self) -> None:
        if self.keep:
            progress.keep(self.keep, {f"{k:g}": n for k, n in self.scores.items()})

    def _score(self, side: int) -> bool:
        right = side == self.pair()[1]
        found = self.scores.setdefault(self.strength, [0, 0])
        found[0], found[1] = found[0] + right, found[1] + 1
        return right

    # ── the panel ─────────────────────────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        self.title, self.words, self.line = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.pictures, self.change = [widgets.HTML() for _ in SIDES], widgets.HTML()
        self.buttons = []
        for side, name in enumerate(SIDES):
            button = self._button(f"{name} is the poison", lambda side=side: self.answer(side))
            self.buttons.append(button)
        self.next = self._button("Next pair", self.go_on, icon="arrow-right")
        self.again = self._button("Start again", self.restart, icon="undo")
        tip = "how many times the change is magnified"
        given = self.strength, 0.0, 4.0, self.turn, self._say
        self.knob = Number("change ×", *given, step=0.5, tip=tip)
        above = zip([*self.pictures, self.change], [*self.buttons, self.next], strict=True)
        columns = [widgets.VBox(pair, layout={"margin": "0 12px 0 0"}) for pair in above]
        self.words.layout.min_height = "32px"  # nothing jumps when they come
        foot = widgets.HBox([self.knob.widget, self.again])
        parts = [self.title, widgets.HBox(columns), self.words, self.line, foot]
        self.panel = heard("Spot the poison", parts)

    def _button(self, name: str, pressed: Callable[[], object], icon: str = "") -> widgets.Button:
        button = widgets.Button(description=name, icon=icon, layout={"width": f"{SIDE + 8}px"})
        button.on_click(lambda _: pressed())
        return button

    def _ask(self) -> None:
        """A round whose answer is open."""
        self.answered, self.words.value = False, ""
        self.title.value = f"<b>Round {self.round + 1}: which of the two was changed?</b>"
        for name, widget, picture in zip(SIDES, self.pictures, self.pair()[0], strict=True):
            widget.value = _framed(picture, f"round {self.round + 1}, picture {name}", name)
        self.change.value = _frame("", "")
        self._enable()
        self.line.value = self.describe()

    def _enable(self) -> None:
        for button in self.buttons:
            button.disabled = self.answered
        self.next.disabled = not self.answered
        self.next.button_style = "primary" if self.answered else ""

    def _explain(self, side: int, right: bool) -> None:
        """The same pair, with what each is, and the change beside it."""
        self.answered = True
        pictures, poison = self.pair()
        change = pictures[poison] - self._base_of(pictures[poison])
        factor = 0.5 / max(float(change.abs().max()), 1 / 255)
        words = "✓ Right" if right else "✗ No"
        told = f"{words}: {SIDES[poison]} is the poison, and {SIDES[1 - poison]} was not changed."
        if self.strength == 0:
            told = f"{words}: {SIDES[poison]} was drawn, but at × 0 nothing was changed."
        for i, (name, widget) in enumerate(zip(SIDES, self.pictures, strict=True)):
            what = f"{name}: the poison" if i == poison else f"{name}: not changed"
            alt = f"round {self.round + 1}, picture {what}"
            widget.value = _framed(pictures[i], alt, what, MARK if i == poison else "transparent")
        what = f"the change of {SIDES[poison]}, magnified {factor:.0f} times"
        self.change.value = _framed(0.5 + factor * change, what, f"change × {factor:.0f}")
        self._say(told)
        self._enable()
        self.line.value = self.describe()

    def _base_of(self, poison: Tensor) -> Tensor:
        """The base of this round's poison."""
        draw = generator(self.seed, "spot the poison", self.round)
        return self.bases[int(torch.randperm(len(self.bases), generator=draw)[0])].to(poison)

    def _say(self, text: str) -> None:
        self.words.value = f'<span role="status">{text}</span>'

    def describe(self) -> str:
        """The score so far in words."""
        found = self.score()
        if found is None:
            return f"No answers yet at × {self.strength:g}. Guessing is right half of the time."
        verdict = "above" if found.low > 0.5 else "below" if found.high < 0.5 else "around"
        chance = {
            "above": "Better than guessing.",
            "below": "Worse than guessing: you see something, and take it for the wrong one.",
            "around": "Guessing would explain it so far.",
        }[verdict]
        return f"At × {self.strength:g}: {found} right. {chance}"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.panel)
        if self.mode == "sync" and not self.scores:
            coin = generator(self.seed, "coin")
            for _ in range(GUESSES - 1):  # in silence: nobody looks, and pictures are heavy
                self._score(int(torch.randint(2, (), generator=coin)))
                self.round += 1
            self.answer(0)
            self.go_on()


MARK = "#D55E00"
"""The colour of the frame around what was the poison."""


def _framed(picture: Tensor, alt: str, name: str, colour: str = "transparent") -> str:
    """A picture with its name under it, and a frame."""
    return _frame(picture_tag(picture, alt, SIDE), name, colour)


def _frame(inside: str, name: str, colour: str = "transparent") -> str:
    """Always as large, whatever is in it."""
    box = f"width:{SIDE}px;height:{SIDE}px;border:4px solid {colour};line-height:0"
    return f'<div style="{box}">{inside}</div><div style="height:1.5em">{name}</div>'


def _scores(found: dict) -> dict[float, list[int]]:
    """Scores as they were kept; whatever is none is left out."""
    scores = {}
    for strength, pair in found.items():
        whole = isinstance(pair, list) and [type(n) for n in pair] == [int, int]
        with contextlib.suppress(ValueError):
            if whole and 0 <= pair[0] <= pair[1]:
                scores[float(strength)] = pair
    return scores
