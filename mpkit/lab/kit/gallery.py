"""Pictures that can be pressed, drawn in the browser: a target beside its poisons, and plain rows.

Python sends levels as bytes and draws nothing. What is pressed comes back as a message; no trait is
ever written by the browser, so that a lab without one, or with a late one, is the same lab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
import torch
import traitlets
from torch import Tensor

from mpkit.runs.ghost import likeness

HERE = Path(__file__)


def levels(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1], or 8-bit ones, as uint8 on the CPU."""
    pictures = pictures.detach().cpu()
    if pictures.dtype == torch.uint8:
        return pictures
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8)


def magnified(change: Tensor) -> tuple[Tensor, float]:
    """A change around grey, its largest value black or white: in [0, 1]; and by what it grew, at
    most to show a tenth of a level."""
    factor = 0.5 / max(float(change.abs().max()), 0.1 / 255)
    return 0.5 + factor * change, factor


def _sent(pictures: Tensor) -> bytes:
    return levels(pictures).contiguous().numpy().tobytes()


class Pressed(anywidget.AnyWidget):
    """Pictures of which one can be pressed: `pressed(i)` is told which."""

    # As text: a path would be watched, and what watches it holds every widget for good.
    _esm = HERE.with_suffix(".js").read_text("utf-8")
    _css = HERE.with_suffix(".css").read_text("utf-8")
    kind = traitlets.Unicode().tag(sync=True)
    shape = traitlets.List([1, 1, 1]).tag(sync=True)
    captions = traitlets.List().tag(sync=True)
    picked = traitlets.Int(-1).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)

    def __init__(self, pressed: Callable[[int], object] | None, **given: object):
        super().__init__(**given)
        self.pressed = pressed
        self.on_msg(lambda _, said, __: self.press(said.get("pick")))

    def press(self, i: object) -> None:
        """As a hand does; what is no number of a picture here is left alone."""
        if self.pressed and type(i) is int and 0 <= i < self.total:
            self.pressed(i)


class Pictures(Pressed):
    """A row of pictures, `size` CSS pixels wide each; to be pressed where `pressed` is given."""

    kind = traitlets.Unicode("row").tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True)
    names = traitlets.List().tag(sync=True)
    framed = traitlets.List().tag(sync=True)
    pressable = traitlets.Bool().tag(sync=True)
    enabled = traitlets.Bool(True).tag(sync=True)
    size = traitlets.Int(72).tag(sync=True)

    def __init__(self, label: str, pressed: Callable[[int], object] | None = None, size: int = 72):
        super().__init__(pressed, size=size, pressable=pressed is not None)
        self.label = label
        self.layout.flex = "1 1 0"  # in a row of other things it takes what is left

    def show(
        self,
        pictures: Tensor,
        captions: Sequence[str],
        names: Sequence[str],
        picked: int = -1,
        framed: Sequence[bool] = (),
    ) -> None:
        """Pictures (N, C, H, W), 8-bit or in [0, 1], under each a caption; `names` are what screen
        readers call them. Those that are `framed` have a frame, and a bold caption."""
        with self.hold_sync():
            self.shape, self.pixels = list(pictures.shape[1:]), _sent(pictures)
            self.captions, self.names, self.picked = list(captions), list(names), picked
            self.framed = list(framed)

    def press(self, i: object) -> None:
        if self.enabled:
            super().press(i)

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.captions)


class Gallery(Pressed):
    """The target beside rows of bases, changes and poisons, a page of `columns` at a time; a slider
    in the browser lays the target over the changes. Each poison can be pressed."""

    kind = traitlets.Unicode("table").tag(sync=True)
    target = traitlets.Bytes().tag(sync=True)
    mean = traitlets.Bytes().tag(sync=True)
    bases = traitlets.Bytes().tag(sync=True)
    poisons = traitlets.Bytes().tag(sync=True)
    kinds = traitlets.List().tag(sync=True)
    words = traitlets.Dict().tag(sync=True)
    first = traitlets.Int().tag(sync=True)
    factor = traitlets.Float(1.0).tag(sync=True)
    out = traitlets.List().tag(sync=True)

    def __init__(self, pressed: Callable[[int], object] | None = None, columns: int = 6):
        super().__init__(pressed)
        self.columns, self.total, self.likeness = columns, 0, 0.0

    def lay_out(self, target: Tensor, bases: Tensor, name: str, kinds: Sequence[str]) -> None:
        """Another target (C, H, W), called `name`, and bases (P, C, H, W) in [0, 1], each with its
        class; nothing is changed yet."""
        self._target, self._bases, self._kinds = target.cpu(), bases.cpu(), list(kinds)
        self._mean = levels(bases).double().mean(0)
        self.name, self.total = name, len(bases)
        self.first = min(self.first, (self.pages - 1) * self.columns)
        with self.hold_sync():
            self.shape, self.target = list(target.shape), _sent(target)
            self.show(bases, 0.0)

    @property
    def pages(self) -> int:
        """Of `columns` poisons each."""
        return -(-self.total // self.columns)

    @property
    def page(self) -> slice:
        """Which poisons are on the page."""
        return slice(self.first, min(self.first + self.columns, self.total))

    def turn(self, page: int) -> None:
        """To a page, from 0; what it shows is to be shown again."""
        self.first = max(0, min(page, self.pages - 1)) * self.columns

    def show(
        self, poisons: Tensor, epsilon: float, captions: Sequence[str] = (), said: str = ""
    ) -> None:
        """Poisons (P, C, H, W), 8-bit or in [0, 1]; ε is shown as black or white. `captions` stand
        under the poisons of the page, and `said` under the target's name."""
        poisons = levels(poisons)
        mean = (poisons.double().mean(0) - self._mean) / 255
        self.likeness = likeness(mean, self._target)
        picture, factor = magnified(mean)
        with self.hold_sync():
            self.bases, self.poisons = _sent(self._bases[self.page]), _sent(poisons[self.page])
            self.kinds, self.captions = self._kinds[self.page], list(captions)
            self.factor, self.mean = 0.5 / max(epsilon, 1 / 255), _sent(picture)
            self.words = self._said(said, factor, changed=epsilon > 0)

    def _said(self, said: str, factor: float, changed: bool) -> dict[str, str]:
        """What stands beside the pictures; `factor` is of the mean change."""
        target = f"target: {self.name}" + (f"\n{said}" if said else "")
        words = {"target": target, "mean": "no change yet", "likeness": "", "change": "change"}
        if not changed:
            return words
        return words | {
            "mean": f"mean of all {self.total} changes, magnified {factor:.0f} times",
            "likeness": f"mean change ×{factor:.0f}\nlike the target: {self.likeness:.2f}",
            "change": f"change ×{self.factor:.0f}",
            "captions": "rise of loss\nwithout it",
        }
