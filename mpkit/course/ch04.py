"""Chapter 04: its exercises, its quiz, and what its plots are called."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mpkit.course.exercises import Verdict, exercise, number, right, wrong
from mpkit.course.quiz import load_quiz

SAID = {
    "loss": "training loss",
    "adversarial": 'P("7") for the target',
    "accuracy": "accuracy, other pictures",
}
"""What is kept of every epoch of the twins, and its title."""


def found_barrier(loss: Callable[[Tensor], float], a: Tensor, b: Tensor, points: int = 11) -> float:
    """The largest loss at `points` equally spaced places from a (D,) to b (D,), minus the worse
    end's (Frankle et al., "Linear Mode Connectivity", ICML 2020)."""
    line = [float(loss(a + (b - a) * i / (points - 1))) for i in range(points)]
    return max(line) - max(line[0], line[-1])


@exercise(
    "04.distance",
    "5 minutes",
    hints=(
        "Add up the squares of all differences, over all tensors, and only then take the root.",
        "sum((a[k] - b[k]).square().sum() for k in a) ** 0.5, divided by the same with a alone.",
    ),
    solution=(
        "def distance(a, b):\n"
        "    apart = sum((a[k] - b[k]).square().sum() for k in a)\n"
        "    length = sum(a[k].square().sum() for k in a)\n"
        "    return float((apart / length) ** 0.5)"
    ),
)
def distance(answer: object) -> Verdict:
    """A function of two dictionaries of tensors: their relative distance as one vector."""
    if not callable(answer):
        return wrong("a function of a and b is wanted.")
    a = {"w": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "b": torch.tensor([4.0])}
    b = {"w": torch.tensor([[3.0, 1.0], [0.0, 2.0]]), "b": torch.tensor([2.0])}
    said = answer(a, b)
    if said is None:
        return Verdict(None, "it still returns None. Squares, a sum over all tensors, a root.")
    value = number(said)
    apart, length = 3.0, 5.0
    if value is None:
        return wrong("one number is wanted.")
    if math.isclose(value, apart / length, abs_tol=1e-5):
        return right("one root, over all squares: the tensors are parts of one vector.")
    if math.isclose(value, apart, abs_tol=1e-5):
        return wrong("that is the distance, but not relative to the length of a.")
    if math.isclose(value, (apart / length) ** 2, abs_tol=1e-5):
        return wrong("the squares are right; a length is the root of them.")
    if math.isclose(value, (5**0.5 + 2) / 7, abs_tol=1e-5):
        return wrong("lengths do not add up: take one root at the end, not one for each tensor.")
    if math.isclose(value, apart / 18**0.5, abs_tol=1e-5):
        return wrong("relative to a, please: you divided by the length of b.")
    return wrong(f"for a = (3, 0, 0, 0 | 4), b = (3, 1, 0, 2 | 2) it gives {value:.4g}, not 0.6.")


@exercise(
    "04.coordinates",
    "6 minutes",
    hints=(
        "Gram–Schmidt: subtract from b − origin its part along the first axis. What is left is "
        "at a right angle to it.",
        "u = (a − origin) / |a − origin|; v = (b − origin) − ((b − origin)·u) u, and then v / |v|.",
    ),
    solution=(
        "def coordinates(point, origin, a, b):\n"
        "    u = (a - origin) / (a - origin).norm()\n"
        "    v = (b - origin) - ((b - origin) @ u) * u\n"
        "    v = v / v.norm()\n"
        "    return float((point - origin) @ u), float((point - origin) @ v)"
    ),
)
def coordinates(answer: object) -> Verdict:
    """A function of four vectors: the two coordinates in the plane through the last three."""
    if not callable(answer):
        return wrong("a function of point, origin, a and b is wanted.")
    origin = torch.tensor([1.0, 1.0, 1.0])
    a, b = origin + torch.tensor([2.0, 0.0, 0.0]), origin + torch.tensor([3.0, 4.0, 0.0])
    said = answer(origin + torch.tensor([5.0, 6.0, 7.0]), origin, a, b)
    if said is None:
        return Verdict(None, "it still returns None. Two axes of length one, two products.")
    try:
        x, y = (float(v) for v in said)
    except (TypeError, ValueError):
        return wrong("two numbers are wanted: (x, y).")
    if math.isclose(x, 5, abs_tol=1e-4) and math.isclose(y, 6, abs_tol=1e-4):
        return right("two axes of length one, at a right angle: what they miss, the plane misses.")
    if math.isclose(x, 5, abs_tol=1e-4) and math.isclose(y, 7.8, abs_tol=1e-3):
        return wrong("your second axis leans: subtract its part along the first.")
    if math.isclose(x, 10, abs_tol=1e-4) or math.isclose(y, 24, abs_tol=1e-4):
        return wrong("both axes must have length one: divide each by its norm.")
    if math.isclose(x, 6, abs_tol=1e-4) and math.isclose(y, 5, abs_tol=1e-4):
        return wrong("the first axis points along a − origin, the second to b's side of it.")
    if math.isclose(x, 6, abs_tol=1e-4):
        return wrong("coordinates are counted from the origin: subtract it from the point first.")
    if math.isclose(x, 5, abs_tol=1e-4) and math.isclose(y, -6, abs_tol=1e-4):
        return wrong("the second axis points away from b.")
    if math.isclose(x, 7.8, abs_tol=1e-3):
        return wrong("the first axis points along a − origin, the second to b's side of it.")
    return wrong(
        "with a − origin = (2, 0, 0) and b − origin = (3, 4, 0), the point at (5, 6, 7) from the "
        f"origin should get (5, 6), not ({x:.4g}, {y:.4g})."
    )


@exercise(
    "04.barrier",
    "5 minutes",
    hints=(
        "The place number i of n lies at a + (b − a)·i/(n − 1).",
        "line = [loss(...) for i in range(points)]; then max(line) minus max of its two ends.",
    ),
    solution=(
        "def barrier(loss, a, b, points=11):\n"
        "    line = [float(loss(a + (b - a) * i / (points - 1))) for i in range(points)]\n"
        "    return max(line) - max(line[0], line[-1])"
    ),
)
def barrier(answer: object) -> Verdict:
    """A function of loss, a, b and points: how high the way between a and b rises over both."""
    if not callable(answer):
        return wrong("a function of loss, a, b and points is wanted.")
    a, b = torch.zeros(2, dtype=torch.float64), torch.tensor([10.0, 0.0], dtype=torch.float64)

    def loss(w: Tensor) -> Tensor:  # 1 at a, 3 at b, 7 at its highest, a fifth of the way along
        return 1 + 0.2 * w[0] + 5.6 * torch.exp(-4 * (w[0] - 2) ** 2)

    said = answer(loss, a, b, 11)
    if said is None:
        return Verdict(None, "it still returns None. Eleven places, the largest loss, the ends.")
    value = number(said)
    if value is None:
        return wrong("one number is wanted.")
    if math.isclose(value, 4, abs_tol=1e-3):
        flat = number(answer(lambda w: 2.0 + 0 * w[0], a, b, 11))
        if flat is None or abs(flat) > 1e-6:
            return wrong("over level ground the barrier is 0.")
        back = number(answer(loss, b, a, 11))
        if back is None or not math.isclose(back, 4, abs_tol=1e-3):
            return wrong("from b to a it must give the same: the worse end need not be b.")
        few = number(answer(loss, a, b, 3))
        if few is None or abs(few) > 1e-3:
            return wrong(
                "with points=3 it must look at a, the middle and b, and at no other place."
            )
        return right("0 means: there is a way from one network to the other without a climb.")
    short = [float(loss(a + (b - a) * i / 11)) for i in range(11)]
    if math.isclose(value, max(short) - max(short[0], short[-1]), abs_tol=1e-3):
        return wrong("your last place is not b: eleven places have ten steps between them.")
    if math.isclose(value, 7, abs_tol=1e-3):
        return wrong("that is the height of the hill over nothing: subtract the worse end's loss.")
    if math.isclose(value, 6, abs_tol=1e-3):
        return wrong(
            "that is over a, which is the better end here. The worse one's loss is wanted."
        )
    if math.isclose(value, 5, abs_tol=1e-3):
        return wrong("that is over the mean of the ends; the worse end is asked for here.")
    if math.isclose(value, -1, abs_tol=1e-3):
        return wrong("the middle alone misses a hill that is nearer to one end.")
    return wrong(f"for a hill of 7 between ends at 1 and 3 it gives {value:.4g}, not 4.")


QUIZ = load_quiz("04")
