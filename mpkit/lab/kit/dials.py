"""Sliders and menus of declared settings: what they are called, their ranges and units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch

from mpkit.data import Dataset
from mpkit.lab.kit.controls import Choice, Number, Say, Thumbnails
from mpkit.setting import Setting

Control = Number | Choice


def dial(
    s: Setting,
    value: object,
    turn: Callable[[object], object],
    say: Say,
    *,
    label: str = "",
    slider: tuple[float, float] | None = None,
) -> Control:
    """The control of a setting. `turn(value)` is told of every new value, in the setting's unit.

    `label` and `slider` where they differ from what is declared.
    """
    look = dataclasses.replace(s.dial, label=label) if label else s.dial
    near = not s.live  # the others stand beside the panel's own line
    if s.choices or s.kind is bool:
        options = [((s.words or {}).get(choice, choice), choice) for choice in s.choices]
        options = [("no", False), ("yes", True)] if s.kind is bool else options
        return Choice(look.label, options, value, turn, say, near=near)
    low, high = slider or (look.low, look.high)
    told = lambda v: turn(s.taken(v))  # noqa: E731
    found = Number(look.label, low, low, high, told, say, step=look.step, near=near)
    found.show(s.shown(value))
    return found


def dials(
    declared: Mapping[str, Setting], holder: object, turn: Callable[..., object], say: Say
) -> dict[str, Control]:
    """A control for every setting that has a dial with a range, or choices; `holder` has the values
    in force, and `turn(name=value)` is told of new ones."""
    return {
        name: dial(s, getattr(holder, name), lambda v, name=name: turn(**{name: v}), say)
        for name, s in declared.items()
        if s.dial.label and (s.dial.low is not None or s.choices or s.kind is bool)
    }


def show(controls: Mapping[str, object], values: Mapping, declared: Mapping[str, Setting]) -> None:
    """Set the controls to what is in force, without telling anybody."""
    for name, value in values.items():
        if name in controls:
            s = declared.get(name, Setting())
            controls[name].show(s.shown(value))


class ClassDial(Thumbnails):
    """A class of a data set, picked by its first picture; `turn(name)` is told which."""

    def __init__(
        self, s: Setting, data: Dataset, turn: Callable[[str], object], say: Say, label=""
    ):
        faces = torch.stack([data.x[data.rows_of(i)[0]] for i in range(len(data.classes))])
        named = lambda i: turn(data.classes[i])  # noqa: E731
        super().__init__(label or s.dial.label, faces, data.classes, 0, named, say)

    def show(self, value: str | None) -> None:
        """Mark the class that is in force; None marks none."""
        super().show(-1 if value is None else self.names.index(value))
