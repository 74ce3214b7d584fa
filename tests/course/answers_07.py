"""Chapter 07: usual wrong answers, as (exercise, answer, words of the message); a partial is asked
for its answer, which takes a model that was trained."""

from __future__ import annotations

from functools import partial

import torch

from mpkit.course.ch07 import case


def _along(f, place=0):
    return f @ torch.linalg.svd(f, full_matrices=False).Vh[place]


def _centred(f):
    return f - f.mean(0)


def _lead(v):
    return sorted(v)[-1] - sorted(v)[-2]


def _of_class():
    return (case().y == case().classes.index(case().said)).nonzero().flatten()[: case().planted]


def _backwards():
    c = case()
    alike = (c.errors * c.target_errors[:, None]).sum(-1).sum(0)
    return (-alike * (c.features @ c.target_features + 1)).topk(c.planted).indices


WRONG = [
    ("07.spectral", 3.0, "a function of features"),
    ("07.spectral", lambda f: f.mean(0), "one score for each row"),
    ("07.spectral", lambda f: _along(f) ** 2, "take the mean off"),
    ("07.spectral", lambda f: _along(_centred(f)), "square it"),
    ("07.spectral", lambda f: -_along(_centred(f)), "square it"),
    ("07.spectral", lambda f: _along(_centred(f)).abs(), "not the absolute value"),
    ("07.spectral", lambda f: (_centred(f) ** 2).sum(1), "in all directions"),
    ("07.spectral", lambda f: _along(_centred(f), -1) ** 2, "matters least"),
    ("07.spectral", lambda f: f[:, 0], "the first row's score"),
    ("07.find", "all", "row numbers"),
    ("07.find", torch.rand(60), "row numbers"),
    ("07.find", [1, 2, 3], "different rows"),
    ("07.find", [0] * 60, "different rows"),
    ("07.find", range(60), "row numbers"),
    ("07.find", list(range(60)), "a blind pick of all"),
    ("07.find", [*range(59), 600], "different rows"),
    ("07.find", partial(_of_class), "use the target"),
    ("07.find", partial(_backwards), "Is the sign right"),
    ("07.certificate", 3, "a function of votes"),
    ("07.certificate", lambda v: "many", "a whole number"),
    ("07.certificate", _lead, "the lead falls by two"),
    ("07.certificate", lambda v: _lead(v) // 2, "the lower class wins"),
    ("07.certificate", lambda v: _lead(v) / 2, "round down"),
    ("07.certificate", lambda v: (_lead(v) - 1) // 2, "higher number loses a tie"),
    ("07.certificate", lambda v: sum(v) // 2, "half of all votes"),
    ("07.certificate", lambda v: v[0], "for votes"),
    ("07.parts", "all", "a whole number"),
    ("07.parts", 120, "won by a rival"),
    ("07.parts", 60, "two parts"),
    ("07.parts", 600, "fewer are enough"),
    ("07.parts", 100, "how many votes"),
]
