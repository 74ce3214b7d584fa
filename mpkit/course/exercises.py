"""Exercises that are checked, hints that come one at a time, quizzes; what was solved is kept.

A chapter's module registers its exercises:

    @exercise("01.psnr", "about 3 minutes", hints=("…", "…"), solution="def psnr(a, b): …")
    def psnr(answer):
        '''Returns Right or Wrong; raises nothing for whatever a student may hand in.'''

and a notebook says ``check("01.psnr", answer)``, ``hint("01.psnr")``, ``solution("01.psnr")``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
from collections.abc import Callable, Sequence
from numbers import Real

from mpkit.course import progress
from mpkit.course.hints import Hints


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check found: `right` is None for an answer that was not given yet."""

    right: bool | None
    words: str

    def __str__(self) -> str:
        head = {True: "Right", False: "Not yet", None: "Open"}[self.right]
        return f"{head}: {self.words}"

    def _repr_html_(self) -> str:
        colour = {True: "#009E73", False: "#D55E00", None: "#767676"}[self.right]
        sign = {True: "✓", False: "✗", None: "…"}[self.right]
        text = html.escape(str(self))
        style = f"border-left:4px solid {colour};padding:4px 10px"
        return f'<div role="status" style="{style}">{sign} {text}</div>'


def right(words: str) -> Verdict:
    """The answer is right; `words` say why that is so."""
    return Verdict(True, words)


def wrong(words: str) -> Verdict:
    """The answer is wrong; `words` say what is wrong with it, not what is right."""
    return Verdict(False, words)


def number(value: object) -> float | None:
    """A student's number as a float, also from a tensor or array of one; None if it is none."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if getattr(value, "shape", None) == () and getattr(value, "dtype", bool) is not bool:
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            return float(value)
    return None


@dataclasses.dataclass(frozen=True)
class Exercise:
    """`answer → Verdict`, with hints from faint to plain, and a solution as source text."""

    name: str
    effort: str
    judge: Callable[..., Verdict]
    hints: Sequence[str]
    solution: str


EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, effort: str, hints: Sequence[str], solution: str):
    """Register a check under `name` ("chapter.what"). Raises ValueError for a name used twice."""

    def register(judge: Callable[..., Verdict]) -> Callable[..., Verdict]:
        if name in EXERCISES:
            raise ValueError(f"exercise {name!r} exists already")
        EXERCISES[name] = Exercise(name, effort, judge, tuple(hints), solution)
        return judge

    return register


def find(name: str) -> Exercise:
    """Raises ValueError listing the exercises of the chapter."""
    if name not in EXERCISES:
        chapter = name.split(".")[0]
        there = [n for n in EXERCISES if n.startswith(f"{chapter}.")] or list(EXERCISES)
        raise ValueError(f"there is no exercise {name!r}; there are: {', '.join(there)}")
    return EXERCISES[name]


BACKWARD = (
    "backward(), .grad and autograd.grad go back through what tensors have recorded, and these "
    "record nothing. torch.func works with functions: write the loss as a function of what you "
    "differentiate by, loss = lambda p: …, and grad(loss)(params) is its gradient."
)
VALUE = (
    "grad takes a function and gives a function. Hand it the loss as a function, not as a value, "
    "and then call what comes: grad(loss)(params), with loss = lambda p: …"
)
NUMBER = "grad wants one number, as a tensor: take the mean, and no .item() or float()."
MEANT = {
    "does not require grad": BACKWARD, "backward() called inside": BACKWARD,
    "'NoneType'": BACKWARD, "'Tensor' object is not callable": VALUE,
    "'function' object is not": VALUE, "return a scalar": NUMBER, "return a Tensor": NUMBER,
}  # fmt: skip
"""What is behind torch's words, where an answer takes gradients."""


def raised(error: Exception) -> Verdict:
    """What a student's function raised, explained where that is known."""
    told = f"{type(error).__name__}: {error}"
    for part, words in MEANT.items():
        if part in str(error):
            return wrong(f"{words} (Your answer raised {told})")
    return wrong(f"your answer raised {told}")


def check(name: str, *answers: object) -> Verdict:
    """Judge an answer, and remember it if it is right. A stub that returns None is "open"."""
    found = find(name)
    if all(a is None for a in answers):
        return Verdict(None, "no answer yet. Replace None by yours; hint() helps.")
    try:
        verdict = found.judge(*answers)
    except Exception as error:  # whatever a student's function does, the lesson goes on
        return raised(error)
    if verdict.right:
        progress.remember(name)
    return verdict


class Folded:
    """Code that is shown when it is asked for."""

    def __init__(self, title: str, text: str):
        self.title, self.text = title, text

    def __str__(self) -> str:
        return f"{self.title}:\n{self.text}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        body = f"<pre>{html.escape(self.text)}</pre>"
        return f"<details><summary>{html.escape(self.title)}</summary>{body}</details>"


def hint(name: str, number: int = 1) -> Hints:
    """A button that shows hint `number`, counted from 1, and then the next. Raises ValueError where
    there is none."""
    return Hints(name, find(name).hints, number)


def solution(name: str) -> Folded:
    """The solution, folded; try the hints first."""
    return Folded("Solution", find(name).solution)
