"""Chapter 04: usual wrong answers, as (exercise, answer, words of the message)."""

from __future__ import annotations

import torch


def _gap(a: dict, b: dict) -> torch.Tensor:
    return sum((a[k] - b[k]).square().sum() for k in a)


def _length(a: dict) -> torch.Tensor:
    return sum(a[k].square().sum() for k in a)


def _each_by_itself(a, b):
    return sum((a[k] - b[k]).norm() for k in a) / sum(a[k].norm() for k in a)


def _axes(origin, a, b):
    u = (a - origin) / (a - origin).norm()
    v = (b - origin) - ((b - origin) @ u) * u
    return u, v / v.norm()


def _leaning(point, origin, a, b):
    u, v = a - origin, b - origin
    return float((point - origin) @ u / u.norm()), float((point - origin) @ v / v.norm())


def _not_unit(point, origin, a, b):
    u, v = a - origin, b - origin
    v = v - ((v @ u) / (u @ u)) * u
    return float((point - origin) @ u), float((point - origin) @ v)


def _second_not_unit(point, origin, a, b):
    u, _ = _axes(origin, a, b)
    v = (b - origin) - ((b - origin) @ u) * u
    return float((point - origin) @ u), float((point - origin) @ v)


def _from_zero(point, origin, a, b):
    u, v = _axes(origin, a, b)
    return float(point @ u), float(point @ v)


def _other_side(point, origin, a, b):
    u, v = _axes(origin, a, b)
    return float((point - origin) @ u), -float((point - origin) @ v)


def _swapped(point, origin, a, b):
    return _leaning(point, origin, b, a)


def _line(loss, a, b, points):
    return [float(loss(a + (b - a) * i / (points - 1))) for i in range(points)]


def _over(base):
    """A barrier that takes `base` of both ends off."""

    def barrier(loss, a, b, points=11):
        line = _line(loss, a, b, points)
        return max(line) - base(line[0], line[-1])

    return barrier


def _short_of_b(loss, a, b, points=11):
    line = [float(loss(a + (b - a) * i / points)) for i in range(points)]
    return max(line) - max(line[0], line[-1])


def _always_eleven(loss, a, b, points=11):
    return _over(max)(loss, a, b, 11)


WRONG = [
    ("04.distance", 0.6, "a function of a and b"),
    ("04.distance", lambda a, b: _gap(a, b) ** 0.5, "not relative"),
    ("04.distance", lambda a, b: _gap(a, b) / _length(a), "the root of them"),
    ("04.distance", _each_by_itself, "one root at the end"),
    ("04.distance", lambda a, b: {k: a[k] - b[k] for k in a}, "one number"),
    ("04.distance", lambda a, b: (_gap(a, b) / _length(b)) ** 0.5, "length of b"),
    ("04.distance", lambda a, b: 0.5, "not 0.6"),
    ("04.coordinates", (5, 6), "a function of point"),
    ("04.coordinates", _leaning, "leans"),
    ("04.coordinates", _not_unit, "length one"),
    ("04.coordinates", _second_not_unit, "length one"),
    ("04.coordinates", _from_zero, "counted from the origin"),
    ("04.coordinates", _other_side, "away from b"),
    ("04.coordinates", _swapped, "the first axis points along"),
    ("04.coordinates", lambda point, origin, a, b: 5.0, "two numbers"),
    ("04.barrier", 4, "a function of loss"),
    ("04.barrier", _over(lambda one, two: 0), "height of the hill over nothing"),
    ("04.barrier", _over(min), "over a, which is the better end"),
    ("04.barrier", _over(lambda one, two: (one + two) / 2), "the mean of the ends"),
    ("04.barrier", lambda loss, a, b, points: float(loss((a + b) / 2)) - 3, "the middle alone"),
    ("04.barrier", lambda loss, a, b, points: 4.0, "level ground"),
    ("04.barrier", _over(lambda one, two: two), "from b to a"),
    ("04.barrier", _over(lambda one, two: one), "over a"),
    ("04.barrier", _short_of_b, "your last place is not b"),
    ("04.barrier", _always_eleven, "points=3"),
    ("04.barrier", _line, "one number"),
]
