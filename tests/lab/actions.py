"""Labs driven at random: what a hand and a browser may do, in any order, by a seed.

`drive` makes a lab, does some actions, and says what went wrong: threads that died, exceptions that
nobody told, a panel that does not come to rest, a curve that the same seed does not give again.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from pathlib import Path
from unittest import mock

import ipywidgets as widgets
import torch
from ipywidgets.widgets.widget import CallbackDispatcher

from mpkit.contest import contest
from mpkit.lab import (
    CollisionLab,
    CompareLab,
    ContestBoard,
    CraftLab,
    DefenseLab,
    LookaheadLab,
    ReplayLab,
    UnrollLab,
)
from mpkit.lab.kit.controls import Choice, Number
from mpkit.lab.kit.gallery import Pressed
from mpkit.lab.kit.runner import Phase
from tests.contest.conftest import BLUE, LIMITS, RED, at_once, write
from tests.lab.conftest import LABS, SHORT, SMALL, Browser, numbers

DRIVEN = (*LABS, ContestBoard)

TINY = SMALL | {"craft_steps": 3, "epochs": 2, "victim_epochs": 2}
COSTLY = {
    "craft_steps": 4, "steps": 6, "victims": 3, "pairs": 1, "epochs": 3, "models": 3, "poisons": 9,
    "unroll_steps": 3, "pace": 0,
}  # fmt: skip
"""At most so much of what makes a run longer."""
CHEAP = {"network": "mlp", "fine_tune": "no", "compute": None}
TOOLS = ("PNG", "Card", "Page", "Take it out", "Put it back")
"""Buttons beside those that drive the run."""
"""Menus that stay as they are, or a step takes seconds."""
LIMIT = 300


def new(kind, folder: Path | None = None):
    """A lab as small as it can be; a contest lies in `folder`."""
    if kind is ContestBoard:
        for name, row in (("limits", LIMITS), ("foxes", RED), ("hedgehogs", BLUE)):
            write(folder, name, row)
        return kind(folder, draw=5)
    if kind is UnrollLab:
        lab = kind()
        lab.moves = 5
        return lab
    if kind is ReplayLab:
        return kind(rate=1000)
    if kind is LookaheadLab:
        return kind(**SHORT)
    variants = {"one": {}, "two": {"unroll_steps": 1}}
    given = {
        CompareLab: {"variants": variants, "pairs": 1},
        DefenseLab: {"defenses": ("none", "loss", "spectral", "jpeg", "partition"), "victims": 1},
    }
    lab = kind(**TINY | given.get(kind, {}))
    if kind is CollisionLab:
        lab.controls["steps"].box.value = 4
    return lab


class Driver:
    """One lab, and a hand that is led by a seed. `folder` is where runs are saved."""

    def __init__(self, kind, seed: int, folder):
        self.draw, self.lab, self.folder = random.Random(seed), new(kind, folder), folder
        self.browser = Browser(*numbers(self.lab))
        self.browser.answer()
        self.done: list[str] = []

    def act(self) -> None:
        """One action of those that can be done now."""
        buttons = {n: b for n, b in self.lab.transport.buttons.items() if not b.disabled}
        ways = [
            *(self._press(name) for name in buttons),
            *((5 if self.lab.controls else 0) * [self._turn]),
            self._keep,
        ]
        ways += [self._scrub] if self.lab.filmed else []
        ways += [self._share] if hasattr(self.lab, "code") else []
        ways += [self._save] if hasattr(self.lab, "save") else []
        ways += [self._touch, self._tool]
        ways += [self._victim] if isinstance(self.lab, CraftLab) else []
        self.draw.choice(ways)()
        time.sleep(self.draw.choice((0, 0, 0.01, 0.1)))
        if self.draw.random() < 0.7:
            self.browser.answer()

    def _press(self, name: str):
        def press() -> None:
            self.done.append(name)
            self.lab.transport.buttons[name].click()

        return press

    def _turn(self) -> None:
        names = [n for n in self.lab.controls if n not in CHEAP]
        name = self.draw.choice(names)
        control = self.lab.controls[name]
        if isinstance(control, Number):
            high = min(control.high, COSTLY.get(name, control.high))
            value = control.low + self.draw.random() * (high - control.low)
            if self.draw.random() < 0.5:  # slid
                place = control._place(value)
                self.done.append(f"{name} slid to {place}")
                control.slider.set_state({"value": place})
            else:  # typed, sometimes what cannot be
                wild = [-1, 0.333, 1e9, float("nan"), round(value), round(value)]
                value = self.draw.choice(wild)
                self.done.append(f"{name} typed {value}")
                control.box.set_state({"value": value})
        elif isinstance(control, Choice):
            value = self.draw.choice(control.menu.options)
            self.done.append(f"{name} {value}")
            control.menu.label = value[0] if isinstance(value, tuple) else str(value)
        else:
            which = self.draw.randrange(len(control.names))
            self.done.append(f"{name} {control.names[which]}")
            control.row._handle_custom_msg({"pick": which}, [])

    def _scrub(self) -> None:
        """As the slider in time does: it asks, and hears that it was shown."""
        lab = self.lab
        bars = [lab.bar, *([lab.victim.bar] if isinstance(lab, CraftLab) else [])]
        bar, at = self.draw.choice(bars), self.draw.random()
        step = self.draw.choice((0, round(at * bar.last), bar.last, 10**9))
        self.done.append(f"time {step}")
        before = str(lab.curve()) if lab.runner.phase.ended else ""
        bar._handle_custom_msg({"step": step}, [])
        assert str(lab.curve()) == before or not before

    def _touch(self) -> None:
        """Presses a picture, be it one that is not there."""
        if pictures := [w for w in within(self.lab.panel) if isinstance(w, Pressed)]:
            which, place = self.draw.choice(pictures), self.draw.randrange(-1, 7)
            self.done.append(f"picture {place} of {which.label[:30]}")
            which._handle_custom_msg({"pick": place}, [])

    def _tool(self) -> None:
        tools = [w for w in within(self.lab.panel) if getattr(w, "description", "") in TOOLS]
        tool = self.draw.choice([w for w in tools if not w.disabled])
        self.done.append(tool.description)
        tool.click()

    def _keep(self) -> None:
        self.done.append("keep")
        self.lab._keep(self.draw.choice(("", "one", "$x_$")))

    def _share(self) -> None:
        code = self.lab.code()
        self.done.append("share and use")
        self.lab._use(self.draw.choice((code, code, code[:-1], "")))

    def _save(self) -> None:
        self.done.append("save")
        try:
            self.lab.save(self.folder)
        except ValueError as error:
            if "nothing to save" not in str(error):
                raise

    def _victim(self) -> None:
        self.done.append("victim")
        self.lab.victim.start()

    def rest(self) -> None:
        """Comes to rest, with every control showing its value."""
        lab = self.lab
        if lab.runner.phase in (Phase.RUNNING, Phase.PAUSING, Phase.STOPPING):
            lab.runner.stop()
        until(lambda: lab.runner.phase.ended or lab.runner.phase in (Phase.READY, Phase.PAUSED))
        lab._before("reset")
        self.browser.answer()
        assert lab.runner.phase is Phase.READY, lab.runner.phase
        for name, control in lab.controls.items():
            if isinstance(control, Number):
                assert control.box.value == control.value, name

    def run(self) -> tuple:
        """The curve of a whole run."""
        self.lab.runner.run()
        until(lambda: self.lab.runner.phase.ended)
        x, y = self.lab.curve()
        return self.lab.runner.phase, list(x), list(y), str(self.lab.runner.error)


def within(widget: widgets.Widget) -> list[widgets.Widget]:
    """A widget and all that is in it."""
    return [widget, *(w for child in getattr(widget, "children", ()) for w in within(child))]


def loud(self, *given, **named) -> None:
    """Calls back as ipywidgets does, which tells exceptions to nobody but its log."""
    for callback in list(self.callbacks):
        callback(*given, **named)


def until(condition) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it does not come to rest"
        time.sleep(0.005)


def drive(kind, seed: int, folder: Path, actions: int = 30) -> str:
    """What went wrong, or nothing."""
    callbacks = mock.patch.object(CallbackDispatcher, "__call__", loud)
    with callbacks, mock.patch.object(contest, "answers", at_once):
        return _driven(kind, seed, folder, actions)


def told_of(filming, lost: list[str]):
    """For a canvas: a picture that failed in its thread counts, and is told as always."""
    broken = filming.canvas.broken

    def told() -> None:
        lost.append("".join(traceback.format_exception(filming.canvas.failed)))
        broken()

    return told


def _driven(kind, seed: int, folder: Path, actions: int) -> str:
    lost, before = [], threading.excepthook
    threading.excepthook = lambda args: lost.append(
        "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
    )
    torch.manual_seed(seed)
    driver = Driver(kind, seed, folder)
    driver.lab.canvas.broken = told_of(driver.lab, lost)
    if isinstance(driver.lab, CraftLab):
        driver.lab.victim.canvas.broken = told_of(driver.lab.victim, lost)
    try:
        for _ in range(actions):
            driver.act()
        driver.rest()
        first = driver.run()
        assert first[0] in (Phase.DONE, Phase.FAILED)
        driver.rest()
        second = driver.run()
        assert str(first) == str(second), f"another curve:\n{first}\n{second}"
    except Exception:
        lost.append(traceback.format_exc())
    finally:
        driver.lab.close()
        threading.excepthook = before
    told = "\n".join(driver.done)
    return f"{kind.__name__}, seed {seed}:\n{told}\n" + "\n".join(lost) if lost else ""
