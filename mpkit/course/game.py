"""Spot the poison: two pictures of one class, one of them changed, and a score against chance.

No thread: a click is answered in the callback. The rounds are drawn by a seed, so that
the same seed asks the same questions, whatever was answered before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import ipywidgets as widgets
import torch
from torch import Tensor

from mpkit.evaluation.rates import Rate, rate
from mpkit.lab.kit.controls import Number
from mpkit.lab.kit.runner import how_to_run
from mpkit.runs.sheet import picture_tag
from mpkit.training import generator

SIDES = ("A", "B")
TOO_SOON = 0.3
"""Seconds within which a click does not answer a round."""

GUESSES = 200
"""How many rounds a coin plays where nobody can click (MPKIT_SYNC=1)."""


class SpotThePoison:
    """A panel with two pictures; a button says which one is the poison.

    bases, poisons (P, C, H, W) in [0, 1], P ≥ 2: the pictures before and after, all of one class.
    `strength` multiplies the change: at 0 there is nothing to see, at 1 it is as published. Scores
    are kept for each strength by itself. Raises ValueError for shapes that differ or P < 2.
    """

    def __init__(self, bases: Tensor, poisons: Tensor, seed: int = 0, strength: float = 1.0):
        if bases.shape != poisons.shape or bases.dim() != 4 or len(bases) < 2:
            raise ValueError(
                "bases and poisons must be (P, C, H, W) of one shape with P of 2 or more, not "
                f"{tuple(bases.shape)} and {tuple(poisons.shape)}"
            )
        self.bases, self.poisons, self.seed = bases, poisons, seed
        self.strength, self.round, self.mode = float(strength), 0, how_to_run()
        self.scores: dict[float, list[int]] = {}
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
        """Say that picture 0 (A) or 1 (B) is the poison: whether it is. Goes on to a new round."""
        right = self._score(side)
        self._feedback(side, right)
        self.round += 1
        self._ask()
        return right

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
        """Another strength, with a score of its own; the round's pictures are shown anew."""
        self.strength = float(strength)
        self.knob.show(self.strength)
        self.words.value = ""
        self._ask()

    def restart(self) -> None:
        """Forget all scores and begin with the first round."""
        self.scores, self.round = {}, 0
        self.words.value = ""
        self._ask()

    def _score(self, side: int) -> bool:
        right = side == self.pair()[1]
        found = self.scores.setdefault(self.strength, [0, 0])
        found[0], found[1] = found[0] + right, found[1] + 1
        return right

    # ── the panel ─────────────────────────────────────────────────────────────────────────────

    def _lay_out(self) -> None:
        self.title, self.words, self.line = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.pictures = [widgets.HTML() for _ in SIDES]
        self.buttons = []
        for side, name in enumerate(SIDES):
            button = widgets.Button(
                description=f"{name} is the poison", layout=widgets.Layout(width="160px")
            )
            button.on_click(lambda _, side=side: self._clicked(side))
            self.buttons.append(button)
        self.again = widgets.Button(description="Start again", icon="undo")
        self.again.on_click(lambda _: self.restart())
        tip = "how many times the change is magnified"
        given = self.strength, 0.0, 4.0, self.turn, self._say
        self.knob = Number("change ×", *given, step=0.5, tip=tip)
        columns = [widgets.VBox(pair) for pair in zip(self.pictures, self.buttons, strict=True)]
        # Room for the words and the picture that come after an answer: nothing jumps.
        self.words.layout.min_height = "84px"
        self.panel = widgets.VBox(
            [self.title, widgets.HBox(columns), self.words, self.line, self.knob.widget, self.again]
        )

    def _clicked(self, side: int) -> None:
        """Answer, but for the second half of a double click: nobody has seen that round yet."""
        if time.monotonic() - self._since > TOO_SOON:
            self.answer(side)

    def _ask(self) -> None:
        self._since = time.monotonic()
        pictures, _ = self.pair()
        self.title.value = f"<b>Round {self.round + 1}: which one was changed?</b>"
        for name, widget, picture in zip(SIDES, self.pictures, pictures, strict=True):
            widget.value = picture_tag(picture, f"round {self.round + 1}, picture {name}", 160)
        self.line.value = self.describe()

    def _feedback(self, side: int, right: bool) -> None:
        pictures, poison = self.pair()
        base = self._base_of(pictures[poison])
        change = pictures[poison] - base
        factor = 0.5 / max(float(change.abs().max()), 1 / 255)
        words = "✓ Right" if right else "✗ No"
        told = f"{words}: {SIDES[poison]} was the poison. Its change:"
        if self.strength == 0:
            told = f"{words}: {SIDES[poison]} was drawn, but at × 0 nothing was changed."
        image = picture_tag(0.5 + factor * change, f"the change of {SIDES[poison]}, magnified", 64)
        self.words.value = f'<span role="status">{told}</span> {image}'

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
            for _ in range(GUESSES):
                self.answer(int(torch.randint(2, (), generator=coin)))
