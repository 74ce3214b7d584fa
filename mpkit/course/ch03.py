"""Chapter 03: its exercises and its quiz."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.problem import batches_of, picture_problem, toy_models
from mpkit.course.quiz import load_quiz

__all__ = ["QUIZ", "batches_of", "picture_problem", "slope_along", "toy_models"]


def slope_along(f: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, h: float) -> Tensor:
    """The central difference of f at x along a direction of x's shape."""
    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)


@exercise(
    "03.difference",
    "5 minutes",
    hints=(
        "Call f twice: at x + h·direction and at x − h·direction.",
        "The distance between the two points is 2h, not h.",
    ),
    solution=(
        "def central_difference(f, x, direction, h):\n"
        "    return (f(x + h * direction) - f(x - h * direction)) / (2 * h)"
    ),
)
def difference(answer: object) -> Verdict:
    """A function of f, x, direction and h: the central difference."""
    if not callable(answer):
        return wrong("a function of f, x, direction and h is wanted.")
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    d, h = torch.tensor([1.2, 1.6], dtype=torch.float64), 1e-3  # not of length one
    found = answer(lambda v: (v**3).sum(), x, d, h)
    if found is None:
        return Verdict(None, "it still returns None. Two calls of f and a division will do.")
    value = number(found)
    if value is None:
        return wrong("one number is wanted, as f gives one.")
    wanted = float(slope_along(lambda v: (v**3).sum(), x, d, h))
    one_sided = float((((x + h * d) ** 3).sum() - (x**3).sum()) / h)
    exact, unit = float((3 * x**2 * d).sum()), d / d.norm()
    along = float(((x + h * unit) ** 3 - (x - h * unit) ** 3).sum() / (2 * h))
    half = float((((x + h * d / 2) ** 3).sum() - ((x - h * d / 2) ** 3).sum()) / h)
    if abs(value - wanted) < 1e-9:
        return right("its error falls with h², because the even terms of the series cancel.")
    if abs(value - exact) < 1e-9:
        return wrong("that is the gradient itself; what is to check it must not use it.")
    if abs(value - wanted * h * h) < 1e-12:
        return wrong("“/ 2 * h” divides by 2 and then multiplies by h: put 2 * h into brackets.")
    if abs(value - one_sided) < 1e-9:
        return wrong("that is the one-sided difference: its error falls with h only. Go back, too.")
    if abs(value - along) < 1e-9:
        return wrong("you changed the length of the direction: take d as it is given.")
    if abs(value - half) < 1e-9:
        return wrong("your two points are h apart; they ought to be 2h apart, h to each side.")
    if abs(value - 2 * wanted) < 1e-6:
        return wrong("twice too large: the two points are 2h apart.")
    if abs(value + wanted) < 1e-9:
        return wrong("the sign: forward minus back.")
    if abs(value - 2 * h * wanted) < 1e-9:
        return wrong("that is how much f changes; a slope is change divided by way.")
    return wrong(f"for Σx³ at (1, 2) along (1.2, 1.6) it gives {value:.9g}, not {wanted:.9g}.")


@exercise(
    "03.memory",
    "3 minutes",
    hints=(
        "What does reverse mode have to keep of each of the K steps?",
        "All of it: so four times the steps, about four times the memory. The lean adjoint keeps "
        "weights only, and one graph.",
    ),
    solution="growth = (4, 1)  # K grows fourfold; weights are small beside activations",
)
def memory(answer: object) -> Verdict:
    """Two factors: by what reverse mode's memory grows from K = 2 to 8, and the lean adjoint's."""
    try:
        a, b = (float(v) for v in answer)
    except (TypeError, ValueError):
        return wrong("two numbers are wanted, in brackets: (reverse, lean adjoint).")
    if not (a > 0 and b > 0):
        return wrong("both factors are above zero.")
    if 2.5 <= a <= 5.5 and 0.8 <= b <= 2:
        return right(
            "about four, since all steps are kept; and about one, since weights are small."
        )
    if b < 0.8:
        return wrong("the lean adjoint does not need less for more steps.")
    if 2.5 <= a <= 5.5:
        return wrong("reverse: yes. The lean adjoint keeps the graph of one step, whatever K is.")
    if a > 8:
        return wrong("each step is kept once, not once for each other step: linear, not quadratic.")
    if a > 5.5:
        return wrong("reverse: too much. K grows fourfold, and every step is kept once.")
    if b <= 2:
        return wrong("the adjoint: yes. But reverse keeps the activations of every step.")
    return wrong("count what has to be kept until the way back: of how many steps?")


@exercise(
    "03.coupled",
    "4 minutes",
    hints=(
        "A loss is a mean over rows. What, inside a network, looks at more than one row?",
        "Batch normalisation: its mean and variance are those of the whole batch.",
    ),
    solution='coupled = {"convnet-bn", "resnet20"}  # those with batch normalisation',
)
def coupled(answer: object) -> Verdict:
    """The set of networks in which a row's gradient depends on the other rows."""
    known = {"mlp", "convnet", "convnet-bn", "resnet20"}
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return wrong("a set of names is wanted, as in {'mlp', 'convnet'}.")
    names = set(answer)
    if not names <= known:
        return wrong(f"the names are: {', '.join(sorted(known))}.")
    if names == {"convnet-bn", "resnet20"}:
        return right("batch normalisation uses statistics of the whole batch; nothing else does.")
    if names == known:
        return wrong("a mean over rows adds their gradients up; it does not mix them.")
    if names == {"convnet-bn"}:
        return wrong("one is missing: residual networks have it in every block.")
    if names & {"mlp", "convnet"}:
        return wrong(
            "in a plain layer each row goes its own way: convolutions mix pixels, not rows."
        )
    return wrong("there are two of them, and they have one kind of layer in common.")


@exercise(
    "03.trap",
    "5 minutes",
    hints=(
        "central_difference(lambda p: mean_loss(models, p), poisons, d, 1e-5) with d of norm 1.",
        "Rounding would give about 1e-9 of the gradient's norm here. What do you get?",
    ),
    solution=('verdict = (1e-4, "wrong")  # your own number; rounding would be far less'),
)
def trap(answer: object) -> Verdict:
    """The worst relative error that was measured, and the word "rounding" or the word "wrong"."""
    words = 'both are wanted, in brackets: (the error you measured, "rounding" or "wrong").'
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return wrong(words)
    found = list(answer)
    error = number(found[0]) if len(found) == 2 else None
    said = str(found[-1]).strip().lower() if found else ""
    if error is None or said not in ("rounding", "wrong"):
        return wrong(words)
    error = abs(error)
    if error < 1e-6:
        return wrong("so little? Take `models` with nn.BatchNorm2d, and h = 1e-5.")
    if error > 0.1:
        return wrong("so much? d should have norm 1, and the difference is divided by 2h.")
    if said == "rounding":
        return wrong("in 64-bit numbers rounding is not a thousandth of what you find. Look again.")
    return right("it is off by far more than rounding could do, and nothing warned you.")


QUIZ = load_quiz("03")
